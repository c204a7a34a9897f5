"""The papers, equation by equation. Nothing here knows files or flags."""
