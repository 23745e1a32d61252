/* A stand-in for CUDA's compiler: kernels as C of this machine, their threads one after the other. It proves nothing of a GPU.
 *
 * Included before the kernels; STAND_IN makes of each what the stand-in driver can launch.
 */
#include <math.h>
#include <stddef.h>

#define __global__
#define __device__

typedef struct { unsigned x, y, z; } Index;

static Index blockIdx, threadIdx, blockDim;

#define EACH(axis, index, limit) for (index.axis = 0; index.axis < (limit); index.axis++)

#define STAND_IN(kernel, Argument) \
    const size_t kernel##_argument_bytes = sizeof(Argument); \
    void kernel##_grid(const unsigned *grid, const unsigned *block, const void *argument) \
    { \
        blockDim = (Index){block[0], block[1], block[2]}; \
        EACH(z, blockIdx, grid[2]) EACH(y, blockIdx, grid[1]) EACH(x, blockIdx, grid[0]) \
        EACH(z, threadIdx, block[2]) EACH(y, threadIdx, block[1]) EACH(x, threadIdx, block[0]) \
            kernel(*(const Argument *)argument); \
    }
