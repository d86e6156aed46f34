"""KServe's controllers; they know a Kubernetes API client and nothing else of the world.

events              the vocabulary: findings, and what is said about them
config              the ConfigMap inferenceservice-config
runtime_selection   which runtime serves a model
model_source        how the model gets into the pod
pod_template        the pod spec              (pod_merge, placeholders, image_tag)
workload            Deployment and Service    (ownership: changing only what is ours)
traffic             URLs
status              conditions and the model's progress    (pod_trouble: what keeps a pod from serving)
plan                all of these in order; pure
inferenceservice    sees, plans, applies
main                the same, on a real cluster
"""

from skerry.operator.inferenceservice import controllers

__all__ = ["controllers"]
