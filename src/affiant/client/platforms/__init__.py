"""Identity tokens that a platform gives its workloads: a job, a pod, a machine. One module for each kind."""
