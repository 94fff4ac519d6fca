"""lrx inside other tools, one a module, which is imported by name: `import lrx.integrations.optuna`."""
