/* Pictures of any size into the planes of a network's input, each in its place, grey around it.
 *
 * Plain C but for CUDA's names: NVRTC compiles it for a device, the tests with the compiler of the machine. No FMA
 * (--fmad=false), and every rounding is that of cv2.resize on bytes with INTER_LINEAR, so both ways give the same bits.
 *
 * Source: OpenCV 4.12, modules/imgproc/src/resize.cpp: hal::resize, HResizeLinear and VResizeLinear of uchar.
 */
#ifdef __cplusplus
extern "C" {
#endif

/* Where a picture is, and where it goes. letterbox.py has the same as a NumPy type. */
typedef struct {
    double scale_x, scale_y; /* pixels of the picture per pixel of the input */
    long long start;         /* its first byte in `pictures`: (source_height, source_width, 3), RGB */
    int source_width, source_height;
    int left, top, width, height;
} Place;

typedef struct {
    const unsigned char *pictures;
    const Place *places; /* one a picture */
    void *tensor;        /* (pictures, 3, height, width) of bytes or floats */
    int width, height;
    int is_bgr;
    int fill;
    float factors[3], offsets[3]; /* of each plane, where it holds floats */
} Letterbox;

/* Two neighbours on one axis and their weights, which add up to 2048. */
typedef struct {
    int first, second, weight_first, weight_second;
} Pair;

static __device__ int clamp(int value, int most) { return value < 0 ? 0 : value > most ? most : value; }

static __device__ Pair weigh(int first, float share, int length)
{
    Pair pair;
    pair.first = clamp(first, length - 1);
    pair.second = clamp(first + 1, length - 1);
    pair.weight_first = (int)rintf((1.0f - share) * 2048.0f);
    pair.weight_second = (int)rintf(share * 2048.0f);
    return pair;
}

static __device__ float position(int at, double scale) { return (float)((at + 0.5) * scale - 0.5); }

static __device__ Pair find_rows(int y, double scale, int length)
{
    float at = position(y, scale);
    int first = (int)floorf(at);
    return weigh(first, at - (float)first, length);
}

/* As `find_rows`, but at the edges the weights are those of the outermost column alone: OpenCV rounds them so. */
static __device__ Pair find_columns(int x, double scale, int length)
{
    float at = position(x, scale);
    int first = (int)floorf(at);
    if (first < 0 || first >= length - 1)
        return weigh(first, 0.0f, length);
    return weigh(first, at - (float)first, length);
}

static __device__ int blend(const unsigned char *row, Pair columns, int channel)
{
    int first = row[3 * columns.first + channel], second = row[3 * columns.second + channel];
    return (first * columns.weight_first + second * columns.weight_second) >> 4;
}

/* What the planes hold at a point of the input, 0 to 255, in the input's order of colours. */
static __device__ void find_values(const Letterbox *job, int picture, int x, int y, int *values)
{
    const Place *place = &job->places[picture];
    int plane, x_inside = x - place->left, y_inside = y - place->top;
    if (x_inside < 0 || x_inside >= place->width || y_inside < 0 || y_inside >= place->height) {
        for (plane = 0; plane < 3; plane++)
            values[plane] = job->fill;
        return;
    }
    Pair rows = find_rows(y_inside, place->scale_y, place->source_height);
    Pair columns = find_columns(x_inside, place->scale_x, place->source_width);
    const unsigned char *pixels = job->pictures + place->start;
    const unsigned char *upper = pixels + 3LL * place->source_width * rows.first;
    const unsigned char *lower = pixels + 3LL * place->source_width * rows.second;
    for (plane = 0; plane < 3; plane++) {
        int channel = job->is_bgr ? 2 - plane : plane;
        int above = (blend(upper, columns, channel) * rows.weight_first) >> 16;
        int below = (blend(lower, columns, channel) * rows.weight_second) >> 16;
        values[plane] = (above + below + 2) >> 2;
    }
}

/* One thread a point of the input and picture: x and y by the block's threads, the picture by the grid's third axis. */

__global__ void letterbox_bytes(Letterbox job)
{
    int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)(blockIdx.y * blockDim.y + threadIdx.y), plane, values[3];
    long long area = (long long)job.width * job.height;
    unsigned char *entry = (unsigned char *)job.tensor + 3 * area * blockIdx.z;
    if (x >= job.width || y >= job.height)
        return;
    find_values(&job, (int)blockIdx.z, x, y, values);
    for (plane = 0; plane < 3; plane++)
        entry[area * plane + (long long)job.width * y + x] = (unsigned char)values[plane];
}

__global__ void letterbox_floats(Letterbox job)
{
    int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)(blockIdx.y * blockDim.y + threadIdx.y), plane, values[3];
    long long area = (long long)job.width * job.height;
    float *entry = (float *)job.tensor + 3 * area * blockIdx.z;
    if (x >= job.width || y >= job.height)
        return;
    find_values(&job, (int)blockIdx.z, x, y, values);
    for (plane = 0; plane < 3; plane++)
        entry[area * plane + (long long)job.width * y + x] = (float)values[plane] * job.factors[plane] + job.offsets[plane];
}

#ifdef __cplusplus
}
#endif
