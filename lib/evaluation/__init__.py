"""Numbers and sentences from predictions: what notebooks 04 to 06 state.

In: tables of predictions (a row per image, feature set, task, share of defects kept and repeat), as
`lib.pipeline.classification` stores them. Out: data frames of measures, tests and intervals, and sentences on them.
Reads no artefact of a study and draws nothing. May import `lib.classification`, `lib.datasets`, `lib.config` and what
is below them; tables, figures and pages are `lib.reporting`'s.
"""
