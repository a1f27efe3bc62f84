"""The recipe language: TOML with positions, schema, typed model, overrides."""
