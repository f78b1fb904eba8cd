"""Being here, this file lets every test import its helpers (``reference``, ``shared_data``) by their plain names."""
