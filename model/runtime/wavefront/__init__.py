"""model/runtime/wavefront"""
