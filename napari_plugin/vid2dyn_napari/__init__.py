"""The panel of vid2dyn in napari: from a video to a learned model, rolled out beside the data, without code.

The map of the plugin, top to bottom; a file imports only from lines below its own::

    view                 what `vid2dyn view` calls
    panel                one dock widget: the sections in a column, the session, the layers
    sections             one file for each section: a thin widget over verbs of the session
    section, forms, plots, worker      Qt: collapsible box, form of a class, canvas, verbs off the GUI thread
    readers, writers, samples          what napari's menus call
    session, layers, curves, movie     no Qt: what was done, data <-> layers, what plots show, annotated film
    styles                             colours and sizes

It uses vid2dyn's public names only, and vid2dyn knows nothing of it.
"""
