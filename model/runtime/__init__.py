"""model/runtime"""
