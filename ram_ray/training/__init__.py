"""Training the family on Ray: `ram_ray.training.pipeline.train` shows the steps in order.

pipeline     train a model, read top-down
config       settings
inputs       what a run consists of, made once
data         what is trained on: samples, labels, order, batches
remarks      what a user should hear before the first step
students     the model that is trained
contrastive  a CLIP instead
workers      processes on a cluster, started again when some die
loop         what each of them does
learner      model, losses, optimizer: one step
trained      what a learner trains
objective    what is minimised
teachers     what a student learns from besides labels
parallel     one model on several workers
schedule     the learning rate
checkpoints  whole or not there
notes        what workers tell the driver
metrics      metrics.jsonl and loss.svg
trackers     TensorBoard, MLflow, Weights & Biases
"""
