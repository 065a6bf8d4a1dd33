"""How does a heart make twelve leads, and what is the truth about this one?"""
