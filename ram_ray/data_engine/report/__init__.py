"""Step 6: one page about what every step did.

write  the step: reads, renders, writes
data   what the page shows, from the files of the steps
page   the page
steps  its table of steps
notes  what a reader must know before believing it
"""
