"""server/ingest"""
