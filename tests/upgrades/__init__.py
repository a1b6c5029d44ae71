"""Databases, tables and archives that earlier versions made are upgraded, and lose nothing."""
