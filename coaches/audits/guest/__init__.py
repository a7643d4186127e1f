"""Audits of files. They run inside a sandbox, to which their text is sent; numpy, pandas, scikit-learn."""
