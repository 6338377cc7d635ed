"""What all HTTP hosts share: the operations, who may call them, and how questions and answers look on the wire.

Nothing here knows a web framework. A host turns its framework's request into a :class:`Request`, asks the
:class:`Api`, and turns the :class:`Response` back.
"""
