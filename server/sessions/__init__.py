"""The use cases, without HTTP: sessions, uploads, questions, snapshots, and the errors that they raise."""
