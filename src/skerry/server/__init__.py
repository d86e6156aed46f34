"""The model server: Open Inference Protocol over REST, OpenVINO as the engine. Imports nothing else of skerry."""
