"""The plugins that come with Backstory."""
