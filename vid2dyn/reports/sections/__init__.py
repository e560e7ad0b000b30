"""The boxes of the report page, one file each: a section is on the page because its file is here.

An outside package adds one through the entry point group ``vid2dyn.sections``; see `base.ReportSection`.
"""
