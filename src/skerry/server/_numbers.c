/* The numbers of a JSON array, straight from text to the bytes of a NumPy array.

   One pass, without Python objects in between and without recursion. What is not an array of numbers, not JSON to the
   letter, or does not fit is answered with None: the caller reads it again in Python, which also writes the error.
   json_numbers.py has the twin in Python, and the tests hold both to the same answers.

   Digits are read eight at a time. A number then is an integer below 10^19 and a power of ten, and becomes a double in
   the first of these ways that is sure of the last bit: a division of two exact doubles; a product with a power of five
   of 128 bits; Python's own conversion. */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if !defined(__SIZEOF_INT128__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || FLT_EVAL_METHOD != 0
#error "this needs a little-endian machine of 64 bits; on others the twin in Python does the work"
#endif

#define INLINE static inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)

enum {
    DEEPEST = 101,           /* as many lists within each other as the twin takes */
    MOST_DECIMALS = 15,      /* for a division: with more, only some are below 2^53, and to guess which costs more */
    LEAST_FIVE = -54,        /* 5^54 and its double fit 128 bits, which the division in make_fives needs */
    MOST_FIVE = 55,          /* 5^55 is the last power of five below 2^128 */
    WITHOUT_GIL = 64 * 1024, /* bytes of text from which other threads may run meanwhile */
    SHORT_TOKEN = 128,
};

__extension__ typedef unsigned __int128 Wide;

/* 5^n is high:low * 2^exponent, the highest bit being set; rounded down where n is negative, exact where it is not. */
typedef struct {
    uint64_t high, low;
    int exponent;
} Five;

/* The number is digits * 10^exponent; if cut, anything from that up to (digits + 1) * 10^exponent. Digits that had no
   room were dropped; they are in the exponent. */
typedef struct {
    uint64_t digits;
    int64_t exponent, dropped;
    bool negative, whole, cut;
} Number;

typedef struct {
    bool is_short;           /* the last number was: see take_short */
    bool failed;             /* a Python exception is set */
    PyThreadState *released; /* NULL while this thread holds the GIL */
} Reader;

static Five fives[MOST_FIVE - LEAST_FIVE + 1];
static const double exact_tens[MOST_DECIMALS + 1] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
};
static const uint64_t tens[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
#define TEN_TO_18 UINT64_C(1000000000000000000)
/* Below the n-th, n more digits leave an integer below 10^19. */
static const uint64_t room[9] = {
    TEN_TO_18 * 10,    TEN_TO_18,          TEN_TO_18 / 10,      TEN_TO_18 / 100,      TEN_TO_18 / 1000,
    TEN_TO_18 / 10000, TEN_TO_18 / 100000, TEN_TO_18 / 1000000, TEN_TO_18 / 10000000,
};

/* Powers of five: made here, because nobody could check a table of 110 lines of digits by reading it. */

static void remember(int power, Wide mantissa, int exponent)
{
    fives[power - LEAST_FIVE] = (Five){(uint64_t)(mantissa >> 64), (uint64_t)mantissa, exponent};
}

static int bits_of(Wide value)
{
    uint64_t high = (uint64_t)(value >> 64);
    return high ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)value);
}

/* 2^(bits + 127) / five, rounded down: the highest bit is 1, the others come from a long division. */
static Wide reciprocal(Wide five, int bits)
{
    Wide quotient = 1, rest = ((Wide)1 << bits) - five;
    for (int bit = 0; bit < 127; bit++) {
        rest <<= 1;
        quotient <<= 1;
        if (rest >= five) {
            rest -= five;
            quotient |= 1;
        }
    }
    return quotient;
}

static void make_fives(void)
{
    Wide five = 1;
    for (int power = 0; power <= MOST_FIVE; power++, five *= 5) {
        int bits = bits_of(five);
        remember(power, five << (128 - bits), bits - 128);
        if (power && -power >= LEAST_FIVE)
            remember(-power, reciprocal(five, bits), -(bits + 127));
    }
}

/* From decimal to double. */

static double of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t bits_of_double(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* digits * 10^power, rounded to the nearest, ties to even; false if 192 bits of the product do not tell.

   The product with a power that was rounded down is too small, by less than `scaled` in its last bits. Adding that much
   changes the upper bits only if all between are set: then it is not known how to round. A power that is exact makes
   the product exact, and only such a product can be seen to be a tie; the others are between two ties or not known.
   Nothing is subnormal or infinite here: powers go from -54 to 55. */
static bool multiply(uint64_t digits, int power, double *value)
{
    Five five = fives[power - LEAST_FIVE];
    int zeros = __builtin_clzll(digits);
    uint64_t scaled = digits << zeros;
    Wide lower = (Wide)scaled * five.low;
    Wide upper = (Wide)scaled * five.high + (lower >> 64);
    uint64_t high = (uint64_t)(upper >> 64);
    int spare = 9 + (int)(high >> 63); /* bits of high below the 53 of a double and the one that rounds */
    uint64_t mask = (UINT64_C(1) << spare) - 1;
    Wide rest = upper << 64 | (uint64_t)lower;
    bool exact = power >= 0;
    if (!exact && (high & mask) == mask && rest + scaled < rest)
        return false;
    uint64_t mantissa = high >> spare;
    bool above = !exact || (high & mask) || rest;
    uint64_t rounded = (mantissa >> 1) + (mantissa & 1 & (above | mantissa >> 1));
    /* What is one too many for 53 bits carries into the exponent, which is right. */
    uint64_t exponent = (uint64_t)(128 + spare + 1 - zeros + five.exponent + power + 52 + 1023);
    *value = of_bits((exponent << 52) + rounded - (UINT64_C(1) << 52));
    return true;
}

/* The double of a number without its sign; NaN if it takes more than this to be sure. */
static double convert_long(Number number)
{
    double value, next;
    if (number.digits == 0 && !number.cut)
        return 0;
    if (number.exponent < LEAST_FIVE || number.exponent > MOST_FIVE)
        return NAN;
    int power = (int)number.exponent;
    if (!multiply(number.digits, power, &value))
        return NAN;
    if (number.cut && !(multiply(number.digits + 1, power, &next) && value == next))
        return NAN;
    return value;
}

/* The same for the usual number first. */
INLINE double convert(const Number *number)
{
    uint64_t digits = number->digits;
    int64_t power = number->exponent;
    if (digits <= UINT64_C(1) << 53 && power <= 0 && power >= -MOST_DECIMALS && !number->cut)
        return (double)(int64_t)digits / exact_tens[-power];
    return convert_long(*number);
}

/* By Python, for what is far away, subnormal, or has so many digits that it could be a tie; NaN if it does not fit. */
static double convert_by_python(Reader *reader, const char *token, const char *end)
{
    if (reader->released) { /* and not given back: a text may be full of these, and each return costs a wait */
        PyEval_RestoreThread(reader->released);
        reader->released = NULL;
    }
    char short_copy[SHORT_TOKEN], *copy = short_copy;
    size_t length = (size_t)(end - token);
    if (length >= sizeof short_copy && !(copy = PyMem_Malloc(length + 1))) {
        PyErr_NoMemory();
        reader->failed = true;
        return NAN;
    }
    memcpy(copy, token, length);
    copy[length] = '\0';
    double value = PyOS_string_to_double(copy, NULL, NULL);
    if (copy != short_copy)
        PyMem_Free(copy);
    reader->failed = value == -1.0 && PyErr_Occurred();
    return reader->failed || isinf(value) ? NAN : fabs(value);
}

/* From text to a number. */

INLINE char peek(const char *at, const char *end)
{
    return LIKELY(at < end) ? *at : '\0';
}

/* Eight bytes with '0' taken away, so that digits are 0 to 9; behind the end is what is no digit. */
INLINE uint64_t load(const char *at, const char *end)
{
    uint64_t word = 0;
    if (LIKELY(end - at >= 8))
        memcpy(&word, at, 8);
    else
        memcpy(&word, at, (size_t)(end - at));
    return word ^ UINT64_C(0x3030303030303030);
}

/* How many of the eight are digits, from the first on. A sum may carry, but only from what is no digit to what is
   behind it. */
INLINE int count_digits(uint64_t word)
{
    uint64_t others = ((word + UINT64_C(0x7676767676767676)) | word) & UINT64_C(0x8080808080808080);
    return others ? __builtin_ctzll(others) >> 3 : 8;
}

/* The value of eight digits: of pairs, then fours, then all. */
INLINE uint64_t value_of(uint64_t word)
{
    word = (word * 10 + (word >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
    word = (word * 100 + (word >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
    return (word * 10000 + (word >> 32)) & UINT64_C(0xFFFFFFFF);
}

/* Digits one by one, `count` of them; those beyond the nineteenth are dropped and counted. */
static Number take_slowly(Number number, const char *at, int count)
{
    for (int index = 0; index < count; index++) {
        uint64_t digit = (uint64_t)(at[index] - '0');
        if (number.digits < room[1] && !number.dropped) {
            number.digits = number.digits * 10 + digit;
        } else {
            number.cut |= digit != 0;
            number.dropped++;
        }
    }
    return number;
}

/* Take digits as long as there are any. The processor foresees that there are eight, so it need not wait for the count
   to go on behind them; of how many the last and fewer are it foresees nothing, so there is no branch on that. */
INLINE const char *take_digits(const char *at, const char *end, Number *number)
{
    for (;;) {
        uint64_t word = load(at, end);
        int count = count_digits(word);
        bool fit = LIKELY(number->digits < room[count]);
        if (count < 8) {
            if (fit)
                number->digits = number->digits * tens[count] + value_of((word << 8) << (56 - 8 * count));
            else
                *number = take_slowly(*number, at, count);
            return at + count;
        }
        if (fit)
            number->digits = number->digits * tens[8] + value_of(word);
        else
            *number = take_slowly(*number, at, 8);
        at += 8;
    }
}

static const char *take_exponent(const char *at, const char *end, int64_t *exponent)
{
    bool negative = peek(at, end) == '-';
    if (negative || peek(at, end) == '+')
        at++;
    const char *begin = at;
    int64_t value = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        if (value < (int64_t)TEN_TO_18 / 100) /* beyond the length of any text, whose zeros it may have to make up for */
            value = value * 10 + (*at - '0');
    *exponent = negative ? -value : value;
    return at == begin ? NULL : at;
}

/* A number with a point, of eight characters or fewer and without an exponent, which the numbers of pictures and
   measurements are: its digits are read at once, with the point taken out. How many are before and behind the point is
   different each time and cannot be foreseen, so no branch depends on it. NULL for every other number. */
INLINE const char *take_short(const char *at, const char *end, Number *number)
{
    if (!LIKELY(end - at > 8))
        return NULL;
    uint64_t word = load(at, end);
    uint64_t others = (((word & UINT64_C(0x7F7F7F7F7F7F7F7F)) + UINT64_C(0x7676767676767676)) | word)
        & UINT64_C(0x8080808080808080);
    if (!others)
        return NULL;
    int point = __builtin_ctzll(others) >> 3;
    others &= others - 1;
    int length = others ? __builtin_ctzll(others) >> 3 : 8;
    char behind = at[length];
    if (at[point] != '.' || !point || length - point < 2 || (at[0] == '0' && point > 1) || (behind | 0x20) == 'e'
        || (behind >= '0' && behind <= '9'))
        return NULL;
    uint64_t before = (UINT64_C(1) << (8 * point)) - 1;
    uint64_t joined = (word & before) | (word >> 8 & ~before);
    number->digits = value_of(joined << (8 * (9 - length)));
    number->exponent = point + 1 - length;
    number->whole = false;
    return at + length;
}

/* A number as JSON has it; NULL for anything else. Whether it is a short one is guessed from the one before. */
INLINE const char *take_number(const char *at, const char *end, Number *number, bool *is_short)
{
    *number = (Number){.negative = peek(at, end) == '-', .whole = true};
    at += number->negative;
    const char *begin = at;
    if (*is_short && (at = take_short(begin, end, number)))
        return at;
    at = begin;
    if (LIKELY(end - at > 1) && at[1] == '.' && at[0] >= '0' && at[0] <= '9') {
        number->digits = (uint64_t)(at[0] - '0'); /* most long ones, and to foresee it is faster than to count digits */
        at++;
    } else {
        at = take_digits(at, end, number);
        if (at == begin || (*begin == '0' && at - begin > 1))
            return NULL;
    }
    number->exponent = number->dropped;
    if (peek(at, end) == '.') {
        const char *fraction = at + 1;
        at = take_digits(fraction, end, number);
        if (at == fraction)
            return NULL;
        number->exponent = number->dropped - (at - fraction);
        number->whole = false;
    }
    if ((peek(at, end) | 0x20) == 'e') {
        int64_t exponent = 0;
        at = take_exponent(at + 1, end, &exponent);
        number->exponent += exponent;
        number->whole = false;
    }
    *is_short = !number->whole && at - begin <= 8;
    return at;
}

/* From a number to the bytes of its kind. */

/* An integer of more than nineteen digits, which may still fit. */
static bool long_integer(const char *at, const char *end, uint64_t *value)
{
    *value = 0;
    for (at += *at == '-'; at < end; at++)
        if (__builtin_mul_overflow(*value, (uint64_t)10, value)
            || __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
            return false;
    return true;
}

INLINE bool integer_of(const Number *number, char kind, const char *token, const char *end, uint64_t *value)
{
    *value = number->digits;
    if (!number->whole || (number->dropped && !long_integer(token, end, value)))
        return false;
    bool fits = kind == 'u' ? !(number->negative && *value) : *value <= (uint64_t)INT64_MAX + number->negative;
    if (number->negative)
        *value = -*value;
    return fits;
}

INLINE bool double_of(Reader *reader, const Number *number, const char *token, const char *end, double *value)
{
    double found = convert(number);
    if (!LIKELY(found == found) && isnan(found = convert_by_python(reader, token, end)))
        return false;
    /* An integer that is zero has no sign, as in Python's json. Signs are unforeseeable: no branch on them. */
    bool negative = number->negative & !(number->whole & (number->digits == 0));
    *value = of_bits(bits_of_double(found) | (uint64_t)negative << 63);
    return true;
}

/* Read a number and append it to `*out`; where it ends, or NULL. */
INLINE const char *read_number(Reader *reader, const char *token, const char *text_end, char kind, char **out)
{
    Number number;
    const char *end = take_number(token, text_end, &number, &reader->is_short);
    if (!end)
        return NULL;
    if (kind == 'i' || kind == 'u') {
        uint64_t value;
        if (!integer_of(&number, kind, token, end, &value))
            return NULL;
        memcpy(*out, &value, sizeof value);
        *out += sizeof value;
        return end;
    }
    double value;
    if (!double_of(reader, &number, token, end, &value))
        return NULL;
    float narrow = (float)value; /* beyond FP32 is infinity, as in NumPy */
    size_t size = kind == 'd' ? sizeof value : sizeof narrow;
    memcpy(*out, kind == 'd' ? (void *)&value : (void *)&narrow, size);
    *out += size;
    return end;
}

/* The array. */

INLINE const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* Read a text that is one array of numbers, flat or nested, to `out`; where that ends then, or NULL. */
INLINE char *read_array(Reader *reader, const char *at, const char *end, char kind, char *out)
{
    int depth = 0;
    for (;;) { /* a value is due */
        at = skip_space(at, end);
        if (peek(at, end) == '[') {
            if (++depth > DEEPEST)
                return NULL;
            at = skip_space(at + 1, end);
            if (peek(at, end) != ']')
                continue;
        } else if (!depth || !(at = read_number(reader, at, end, kind, &out))) {
            return NULL;
        }
        at = skip_space(at, end);
        while (peek(at, end) == ']') {
            at = skip_space(at + 1, end);
            if (--depth == 0)
                return at == end ? out : NULL;
        }
        if (peek(at, end) != ',')
            return NULL;
        at++;
    }
}

/* A loop for each kind, which the compiler makes of the one above. */
static char *read_kind(Reader *reader, const char *at, const char *end, char kind, char *out)
{
    switch (kind) {
    case 'f': return read_array(reader, at, end, 'f', out);
    case 'd': return read_array(reader, at, end, 'd', out);
    case 'i': return read_array(reader, at, end, 'i', out);
    default: return read_array(reader, at, end, 'u', out);
    }
}

/* The most numbers that a text can hold: one more than it has commas, and no more than every second byte. */
static Py_ssize_t most_numbers(const char *text, Py_ssize_t length)
{
    Py_ssize_t commas = 0, at = 0;
    while (at < length) {
        unsigned char some = 0; /* of 255 bytes at most, so that it does not overflow; vectors count so */
        Py_ssize_t until = length - at > 255 ? at + 255 : length;
        for (; at < until; at++)
            some += text[at] == ',';
        commas += some;
    }
    return commas < length / 2 ? commas + 1 : length / 2;
}

static PyObject *read_text(const char *text, Py_ssize_t length, char kind)
{
    Py_ssize_t size = kind == 'f' ? 4 : 8, most = most_numbers(text, length);
    if (most > PY_SSIZE_T_MAX / size)
        return PyErr_NoMemory();
    PyObject *bytes = PyByteArray_FromStringAndSize(NULL, most * size);
    if (!bytes)
        return NULL;
    char *out = PyByteArray_AsString(bytes);
    Reader reader = {.released = length >= WITHOUT_GIL ? PyEval_SaveThread() : NULL};
    char *out_end = read_kind(&reader, text, text + length, kind, out);
    if (reader.released)
        PyEval_RestoreThread(reader.released);
    if (out_end && PyByteArray_Resize(bytes, out_end - out) == 0)
        return bytes;
    Py_DECREF(bytes);
    if (out_end || reader.failed)
        return NULL;
    Py_RETURN_NONE;
}

/* The module. */

static PyObject *read_numbers(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    Py_ssize_t length = 0;
    const char *kind = NULL;
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "read takes 2 arguments, text and kind: %zd were given", count);
    if (PyUnicode_Check(arguments[1]) && !(kind = PyUnicode_AsUTF8AndSize(arguments[1], &length)))
        return NULL;
    if (!kind || length != 1 || !strchr("fdiu", kind[0]))
        return PyErr_Format(PyExc_ValueError, "kind is one of 'f', 'd', 'i' and 'u', not %R", arguments[1]);
    Py_buffer text;
    if (PyObject_GetBuffer(arguments[0], &text, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *numbers = read_text(text.buf, text.len, kind[0]);
    PyBuffer_Release(&text);
    return numbers;
}

PyDoc_STRVAR(read_doc, "read($module, text, kind, /)\n--\n\n"
                       "The numbers of a JSON array as bytes, or None; see skerry.server.json_numbers.");

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))read_numbers, METH_FASTCALL, read_doc},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    (void)module;
    make_fives();
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)(uintptr_t)execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "skerry.server._numbers",
    .m_doc = "The compiled twin of skerry.server.json_numbers.read_in_python.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__numbers(void);

PyMODINIT_FUNC PyInit__numbers(void)
{
    return PyModuleDef_Init(&definition);
}
