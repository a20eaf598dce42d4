/* One pass of Adam over n numbers: what a step cannot do without beside its matrix products. */
#include <math.h>

void adam(long n, float *restrict w, const float *restrict g, float *restrict m, float *restrict v, float rate) {
    for (long i = 0; i < n; i++) {
        m[i] += 0.1f * (g[i] - m[i]);
        v[i] += 0.001f * (g[i] * g[i] - v[i]);
        w[i] -= rate * m[i] / (sqrtf(v[i]) + 1e-7f);
    }
}
