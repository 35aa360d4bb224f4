"""ResNet-50, BERT-base and a MiniLM on an NVIDIA GPU: backends x precisions x batch sizes, within nine minutes."""
