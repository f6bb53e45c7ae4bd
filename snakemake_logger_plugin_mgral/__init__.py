"""Snakemake finds its logger plug-ins by the names of such packages; `logger: mgral` in a profile names this one."""

from mgral.engine.console.handler import LogHandler

__all__ = ["LogHandler"]
