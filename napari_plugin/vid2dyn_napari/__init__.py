"""The panel of vid2dyn in napari: from a video to a learned model, rolled out beside the data, without code.

The map of the plugin, top to bottom; a file imports only from lines below its own::

    view                 what `vid2dyn view` calls
    panel                one dock widget: the sections in a column
    sections             one file for each section: a thin widget over verbs of the session
    section, forms, plots              Qt: collapsible box, form of a class, canvas
    workspace, worker, followers       what sections share: session, layers, time; verbs off the GUI thread
    saving, film                       everything as files
    readers, writers, samples          what napari's menus call
    curves, budgets, truth             what plots show; what is known beforehand
    session, wording, layers           what was done, as script and TOML; data <-> layers (no Qt from saving down)
    styles                             colours and sizes

It uses vid2dyn's public names only, and vid2dyn knows nothing of it.
"""
