"""Steps of a metriplectic fluid in torch, float64: plain statements of the method and the test of the compiled ones.

One step from t to t + dt, kB = 1:

(a) conservative, S fixed     Verlet (half kick, drift, half kick), or the secant discrete gradient (`conservative`)
(b) friction and noise        (2 m + dt L) v̄ = 2 m v + R by conjugate gradients, L the weighted graph Laplacian of
                              ζ_ij = b_ij K_ij; impulses dp_ij = R_ij - dt ζ_ij v̄_ij; heat -1/2 dp_ij·v̄_ij to each end
(c) conduction                Crank-Nicolson for the temperatures with limited coefficients
(d) entropies                 U(S, V) = U by Newton
(e) bath                      substrate drag and its noise, exact for each particle

(a) to (d) conserve energy for any impulses: (a) to rounding with the secant gradient, (b) because what the pair loses
in kinetic energy is what both ends receive. Coefficients in (b) and (c) are those at the end of (a) (Itô), so with the
reference measure dr dv dS (`vid2dyn.dynamics.bracket`) the pair sees, with β = (1 - 1/c)/T and p the power of
the pair temperature h = T_ij in K,

    b_ij = [β_i + β_j + p (g_i + g_j)]/2,   g = h/(2 c T²)

which is (1/T_i + 1/T_j)/2 with all terms of kB ∇·M that act on velocities; those that act on entropies come by
themselves from the mean velocity v̄ in the heat. With K independent of the state and one temperature, the stationary
variance of v is exact at every dt. In (c), with w_ij = C²_ij/(T_i T_j), rates sum_j w_ij/c_i and
z = dt max(rate_i, rate_j), C² is multiplied by tanh(z)/z: two alike relax exactly exponentially, every new
temperature is an average of old ones, so heat never overshoots, and entropy rises when noise is off.
"""
