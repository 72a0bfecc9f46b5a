"""What is only run in a virtual machine (``make vmtest``): the machine itself, and what its kernel can do."""
