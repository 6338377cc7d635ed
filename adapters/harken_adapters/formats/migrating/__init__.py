"""Migrates session documents of mongodb_session_manager: conversations, feedback and metadata."""
