"""server/sessions"""
