"""Is a fitted model allowed? Every assumption of it as a test of the data, in one table.

`steps` holds what the tests look at: the steps of a recording, whitened by the model that was fitted to them. A test
(`assumptions`, one file for what belongs together) measures quantities that vanish where its assumption holds, with
their covariance; `quantities` compares them with the same quantities of a recording that the model itself makes, and
gives p. `table` puts the findings of all tests side by side and says which fail. Who whitens the steps of which kind of
model: the room of its fit (`vid2dyn.fitting.brownian.assessed`).
"""
