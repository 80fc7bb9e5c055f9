"""Training one LoRA for one task, with PEFT."""
