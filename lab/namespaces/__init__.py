"""Devices as network namespaces of this machine: real interfaces, shaped by the kernel, and CPU quotas."""
