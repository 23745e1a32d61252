/* A stand-in for the CUDA driver: memory is the host's, and queued work is done as late as the driver's contract allows.
 *
 * It proves nothing of a GPU: kernels are run by this processor, one thread after the other, other work computes nothing. It shows what a caller does wrong: a wait that is missing (the data is not
 * there yet), memory that is never freed or used after it was, a copy past the end, a capture left open. One thread at a time.
 *
 * The names and numbers are those of the CUDA Driver API; what begins with stand_in_ is for the tests.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_INVALIDATED = 901,
    CAPTURED_EVENT = 907,
};

typedef uint64_t Address; /* CUdeviceptr */

/* ---- errors: made to fail on purpose, and those that stay */

static int sticky;
static struct { char call[64]; int code, nth; } planned;

/* The faults of a kernel. */
static int is_sticky(int code)
{
    return code == 700 || code == 702 || code == 710 || (code >= 714 && code <= 719) || code == 721;
}

/* The error of a call: the one that stays, else the one that a test planned for it, else none. */
static int begin(const char *call)
{
    if (sticky)
        return sticky;
    if (planned.nth > 0 && strcmp(planned.call, call) == 0 && --planned.nth == 0) {
        if (is_sticky(planned.code))
            sticky = planned.code;
        return planned.code;
    }
    return SUCCESS;
}

#define BEGIN(call) do { int code_ = begin(call); if (code_) return code_; } while (0)
#define NEED(condition, code) do { if (!(condition)) return (code); } while (0)
#define NEED_CONTEXT() NEED(context_depth > 0, INVALID_CONTEXT)

/* ---- device and contexts */

static int is_initialized, n_devices = 1, is_integrated, primary_retained;
static size_t limit_bytes = (size_t)1 << 30, used_bytes;
static __thread int context_depth;
static __thread int context_stack[64]; /* each the ordinal of a device plus 1, which is the handle of its primary context too */

int cuInit(unsigned flags)
{
    BEGIN("cuInit");
    NEED(flags == 0, INVALID_VALUE);
    NEED(n_devices > 0, NO_DEVICE);
    is_initialized = 1;
    return SUCCESS;
}

int cuDriverGetVersion(int *version)
{
    *version = 13000;
    return SUCCESS;
}

int cuGetErrorString(int code, const char **text)
{
    static char texts[1000][32];
    NEED(code >= 0 && code < 1000, INVALID_VALUE);
    snprintf(texts[code], sizeof texts[code], code == OUT_OF_MEMORY ? "out of memory" : "stand-in error %d", code);
    *text = texts[code];
    return SUCCESS;
}

int cuGetErrorName(int code, const char **text) { return cuGetErrorString(code, text); }

int cuDeviceGetCount(int *count)
{
    BEGIN("cuDeviceGetCount");
    NEED(is_initialized, NOT_INITIALIZED);
    *count = n_devices;
    return SUCCESS;
}

int cuDeviceGet(int *device, int ordinal)
{
    BEGIN("cuDeviceGet");
    NEED(is_initialized, NOT_INITIALIZED);
    NEED(ordinal >= 0 && ordinal < n_devices, INVALID_DEVICE);
    *device = ordinal;
    return SUCCESS;
}

int cuDeviceGetName(char *name, int length, int device)
{
    BEGIN("cuDeviceGetName");
    snprintf(name, length, "stand-in %d", device);
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    BEGIN("cuDeviceGetAttribute");
    (void)device;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18 ? is_integrated : 1;
    return SUCCESS;
}

int cuDeviceComputeCapability(int *major, int *minor, int device)
{
    (void)device;
    *major = 8;
    *minor = 7;
    return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    BEGIN("cuDeviceTotalMem");
    (void)device;
    *bytes = limit_bytes;
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    BEGIN("cuDevicePrimaryCtxRetain");
    NEED(device >= 0 && device < n_devices, INVALID_DEVICE);
    primary_retained++;
    *context = (void *)(uintptr_t)(device + 1);
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    BEGIN("cuDevicePrimaryCtxRelease");
    (void)device;
    NEED(primary_retained > 0, INVALID_CONTEXT);
    primary_retained--;
    return SUCCESS;
}

int cuCtxPushCurrent_v2(void *context)
{
    BEGIN("cuCtxPushCurrent");
    NEED(context && primary_retained > 0 && context_depth < 64, INVALID_CONTEXT);
    context_stack[context_depth++] = (int)(uintptr_t)context;
    return SUCCESS;
}

int cuCtxPopCurrent_v2(void **context)
{
    BEGIN("cuCtxPopCurrent");
    NEED_CONTEXT();
    *context = (void *)(uintptr_t)context_stack[--context_depth];
    return SUCCESS;
}

int cuCtxGetCurrent(void **context)
{
    BEGIN("cuCtxGetCurrent");
    *context = context_depth ? (void *)(uintptr_t)context_stack[context_depth - 1] : NULL;
    return SUCCESS;
}

int cuCtxGetDevice(int *device)
{
    BEGIN("cuCtxGetDevice");
    NEED_CONTEXT();
    *device = context_stack[context_depth - 1] - 1;
    return SUCCESS;
}

/* ---- memory: between two red zones, known until it is freed */

enum { ZONE = 256, RED = 0xA5, FRESH = 0xCD };

typedef struct Memory { struct Memory *next; unsigned char *start; size_t n_bytes; int is_device, is_mapped; } Memory;

static Memory *memories;
static int overruns;

static Memory *take_memory(size_t n_bytes, int is_device, int is_mapped)
{
    Memory *memory = malloc(sizeof *memory);
    unsigned char *block = aligned_alloc(ZONE, 2 * ZONE + (n_bytes + ZONE - 1) / ZONE * ZONE);
    if (!memory || !block)
        abort();
    memset(block, RED, ZONE);
    memset(block + ZONE, FRESH, n_bytes);
    memset(block + ZONE + n_bytes, RED, ZONE);
    *memory = (Memory){memories, block + ZONE, n_bytes, is_device, is_mapped};
    memories = memory;
    used_bytes += n_bytes;
    return memory;
}

static int give_memory(void *start, int is_device)
{
    for (Memory **link = &memories; *link; link = &(*link)->next) {
        Memory *memory = *link;
        if (memory->start != start || memory->is_device != is_device)
            continue;
        for (int i = 0; i < ZONE; i++)
            overruns += memory->start[-1 - i] != RED || memory->start[memory->n_bytes + i] != RED;
        *link = memory->next;
        used_bytes -= memory->n_bytes;
        free(memory->start - ZONE);
        free(memory);
        return SUCCESS;
    }
    return INVALID_VALUE;
}

/* The memory that holds a range and that the device may touch. */
static int is_of_device(Address address, size_t n_bytes)
{
    for (Memory *memory = memories; memory; memory = memory->next) {
        Address start = (Address)(uintptr_t)memory->start;
        if ((memory->is_device || memory->is_mapped) && address >= start && address + n_bytes <= start + memory->n_bytes)
            return 1;
    }
    return 0;
}

/* ---- streams: queues of work that is done only when somebody waits */

typedef void (*HostFunction)(void *);

typedef struct { void *to; const void *from; size_t n_bytes; Address device; HostFunction function; void *argument; } Work;

typedef struct { Work *work; size_t count, room; } Queue;

typedef struct Thing { struct Thing *next; } Thing; /* what has a handle: the beginning of each */

typedef struct {
    Thing thing;
    Queue queue;
    size_t done;    /* of the queue, from its beginning */
    Queue *capture; /* not NULL while the stream is captured */
    int is_invalidated;
} Stream;

typedef struct { Thing thing; Stream *stream; size_t until; int is_captured; } Event;

typedef struct { Thing thing; Queue queue; } Graph;

static Thing *streams, *events, *graphs; /* graphs: those not instantiated, and those that are */

static void *take(Thing **list, size_t size)
{
    Thing *thing = calloc(1, size);
    if (!thing)
        abort();
    thing->next = *list;
    return *list = thing;
}

static int has(const Thing *list, const void *handle)
{
    while (list && list != handle)
        list = list->next;
    return list != NULL;
}

static void give(Thing **list, void *handle)
{
    while (*list && *list != handle)
        list = &(*list)->next;
    if (*list)
        *list = (*list)->next;
    free(handle);
}

static int count(const Thing *list)
{
    int n = 0;
    for (; list; list = list->next)
        n++;
    return n;
}

static void push(Queue *queue, Work work)
{
    if (queue->count == queue->room) {
        queue->room = queue->room ? 2 * queue->room : 8;
        queue->work = realloc(queue->work, queue->room * sizeof *queue->work);
        if (!queue->work)
            abort();
    }
    queue->work[queue->count++] = work;
}

static int enqueue(Stream *stream, Work work)
{
    NEED(has(streams, stream), INVALID_HANDLE);
    push(stream->capture ? stream->capture : &stream->queue, work);
    return SUCCESS;
}

/* Does what is queued up to a place; an address that the device has not is found only here, as on a device. */
static int run(Stream *stream, size_t until)
{
    while (stream->done < until) {
        Work work = stream->queue.work[stream->done++];
        BEGIN("work");
        if (work.function) {
            work.function(work.argument);
        } else if (is_of_device(work.device, work.n_bytes)) {
            memcpy(work.to, work.from, work.n_bytes);
        } else {
            return sticky = ILLEGAL_ADDRESS;
        }
    }
    return SUCCESS;
}

/* Memory that queued work still needs must not be freed: on a device that work would meet something else there. */
static int free_memory(void *start, int is_device)
{
    for (Thing *thing = streams; thing; thing = thing->next) {
        Stream *stream = (Stream *)thing;
        for (size_t i = stream->done; i < stream->queue.count; i++)
            if (stream->queue.work[i].to == start || stream->queue.work[i].from == start)
                return sticky = ILLEGAL_ADDRESS;
    }
    return give_memory(start, is_device);
}

/* What waits or allocates while a stream is captured spoils the capture. */
static int refuse_in_capture(void)
{
    int is_capturing = 0;
    for (Thing *thing = streams; thing; thing = thing->next)
        if (((Stream *)thing)->capture)
            is_capturing = ((Stream *)thing)->is_invalidated = 1;
    return is_capturing ? STREAM_CAPTURE_UNSUPPORTED : SUCCESS;
}

#define NOT_IN_CAPTURE() do { int code_ = refuse_in_capture(); if (code_) return code_; } while (0)

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    BEGIN("cuMemGetInfo");
    NEED_CONTEXT();
    *free_bytes = limit_bytes - used_bytes;
    *total_bytes = limit_bytes;
    return SUCCESS;
}

int cuMemAlloc_v2(Address *address, size_t n_bytes)
{
    BEGIN("cuMemAlloc");
    NEED_CONTEXT();
    NOT_IN_CAPTURE();
    NEED(n_bytes > 0, INVALID_VALUE);
    NEED(n_bytes <= limit_bytes - used_bytes, OUT_OF_MEMORY);
    *address = (Address)(uintptr_t)take_memory(n_bytes, 1, 0)->start;
    return SUCCESS;
}

int cuMemFree_v2(Address address)
{
    BEGIN("cuMemFree");
    NEED_CONTEXT();
    return free_memory((void *)(uintptr_t)address, 1);
}

int cuMemHostAlloc(void **start, size_t n_bytes, unsigned flags)
{
    BEGIN("cuMemHostAlloc");
    NEED_CONTEXT();
    NOT_IN_CAPTURE();
    NEED(n_bytes > 0, INVALID_VALUE);
    NEED(n_bytes <= limit_bytes - used_bytes, OUT_OF_MEMORY);
    *start = take_memory(n_bytes, 0, (flags & 2) != 0)->start;
    return SUCCESS;
}

int cuMemFreeHost(void *start)
{
    BEGIN("cuMemFreeHost");
    NEED_CONTEXT();
    return free_memory(start, 0);
}

int cuMemHostGetDevicePointer_v2(Address *address, void *start, unsigned flags)
{
    BEGIN("cuMemHostGetDevicePointer");
    (void)flags;
    NEED(is_of_device((Address)(uintptr_t)start, 1), INVALID_VALUE);
    *address = (Address)(uintptr_t)start;
    return SUCCESS;
}

int cuStreamCreate(Stream **stream, unsigned flags)
{
    BEGIN("cuStreamCreate");
    NEED_CONTEXT();
    NEED(flags == 1, INVALID_VALUE); /* a stream of ours must not wait for the default one */
    *stream = take(&streams, sizeof **stream);
    return SUCCESS;
}

int cuStreamSynchronize(Stream *stream)
{
    BEGIN("cuStreamSynchronize");
    NEED(has(streams, stream), INVALID_HANDLE);
    NOT_IN_CAPTURE();
    return run(stream, stream->queue.count);
}

int cuStreamDestroy_v2(Stream *stream)
{
    BEGIN("cuStreamDestroy");
    NEED(has(streams, stream), INVALID_HANDLE);
    int code = run(stream, stream->queue.count);
    for (Thing *thing = events; thing; thing = thing->next)
        if (((Event *)thing)->stream == stream)
            ((Event *)thing)->stream = NULL;
    free(stream->queue.work);
    give(&streams, stream);
    return code;
}

int cuCtxSynchronize(void)
{
    BEGIN("cuCtxSynchronize");
    NEED_CONTEXT();
    NOT_IN_CAPTURE();
    int code = SUCCESS;
    for (Thing *thing = streams; thing && !code; thing = thing->next)
        code = run((Stream *)thing, ((Stream *)thing)->queue.count);
    return code;
}

int cuEventCreate(Event **event, unsigned flags)
{
    BEGIN("cuEventCreate");
    NEED_CONTEXT();
    NEED(flags == 3, INVALID_VALUE); /* a waiter of ours sleeps, and nobody asks for times */
    *event = take(&events, sizeof **event);
    return SUCCESS;
}

int cuEventRecord(Event *event, Stream *stream)
{
    BEGIN("cuEventRecord");
    NEED(has(events, event) && has(streams, stream), INVALID_HANDLE);
    *event = (Event){event->thing, stream, stream->queue.count, stream->capture != NULL};
    return SUCCESS;
}

int cuEventSynchronize(Event *event)
{
    BEGIN("cuEventSynchronize");
    NEED(has(events, event), INVALID_HANDLE);
    NEED(!event->is_captured, CAPTURED_EVENT);
    return event->stream ? run(event->stream, event->until) : SUCCESS;
}

int cuEventDestroy_v2(Event *event)
{
    BEGIN("cuEventDestroy");
    NEED(has(events, event), INVALID_HANDLE);
    give(&events, event);
    return SUCCESS;
}

int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t n_bytes, Stream *stream)
{
    BEGIN("cuMemcpyHtoDAsync");
    return enqueue(stream, (Work){.to = (void *)(uintptr_t)to, .from = from, .n_bytes = n_bytes, .device = to});
}

int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t n_bytes, Stream *stream)
{
    BEGIN("cuMemcpyDtoHAsync");
    return enqueue(stream, (Work){.to = to, .from = (const void *)(uintptr_t)from, .n_bytes = n_bytes, .device = from});
}

int cuLaunchHostFunc(Stream *stream, HostFunction function, void *argument)
{
    BEGIN("cuLaunchHostFunc");
    return enqueue(stream, (Work){.function = function, .argument = argument});
}

/* ---- kernels: of a module that is the path of a shared library of this machine, compiled from host_kernel.h */

typedef void (*Grid)(const unsigned *grid, const unsigned *block, const void *argument);

typedef struct { Thing thing; Grid run; size_t n_bytes; void *library; } Kernel;

typedef struct { Grid run; unsigned grid[3], block[3]; char argument[]; } Launch;

static Thing *modules, *kernels;

typedef struct { Thing thing; void *library; } Module;

int cuModuleLoadData(Module **module, const char *path)
{
    BEGIN("cuModuleLoadData");
    NEED_CONTEXT();
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    NEED(library, INVALID_IMAGE);
    *module = take(&modules, sizeof **module);
    (*module)->library = library;
    return SUCCESS;
}

int cuModuleLoadDataEx(Module **module, const char *path, unsigned n_options, void *options, void **values)
{
    (void)n_options;
    (void)options;
    (void)values;
    return cuModuleLoadData(module, path);
}

/* Its kernels go with it; what was launched of them must be done by then. */
int cuModuleUnload(Module *module)
{
    BEGIN("cuModuleUnload");
    NEED(has(modules, module), INVALID_HANDLE);
    for (Thing *thing = kernels, *next; thing; thing = next) {
        next = thing->next;
        if (((Kernel *)thing)->library == module->library)
            give(&kernels, thing);
    }
    give(&modules, module);
    return SUCCESS;
}

int cuModuleGetFunction(Kernel **kernel, Module *module, const char *name)
{
    char symbol[128];
    BEGIN("cuModuleGetFunction");
    NEED(has(modules, module), INVALID_HANDLE);
    snprintf(symbol, sizeof symbol, "%s_grid", name);
    void *run = dlsym(module->library, symbol);
    snprintf(symbol, sizeof symbol, "%s_argument_bytes", name);
    const size_t *n_bytes = dlsym(module->library, symbol);
    NEED(run && n_bytes, NOT_FOUND);
    *kernel = take(&kernels, sizeof **kernel);
    (*kernel)->run = (Grid)run;
    (*kernel)->n_bytes = *n_bytes;
    (*kernel)->library = module->library;
    return SUCCESS;
}

int cuFuncSetBlockShape(Kernel *kernel, int x, int y, int z) /* PyCUDA's, before each launch */
{
    NEED(has(kernels, kernel), INVALID_HANDLE);
    NEED(x > 0 && y > 0 && z > 0, INVALID_VALUE);
    return SUCCESS;
}

static void run_launch(void *argument)
{
    Launch *launch = argument;
    launch->run(launch->grid, launch->block, launch->argument);
}

/* The argument is copied at once, from either of the places where the driver takes it. A launch is never freed: a graph may. */
int cuLaunchKernel(Kernel *kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared_bytes, Stream *stream, void **arguments, void **packed)
{
    BEGIN("cuLaunchKernel");
    NEED(has(kernels, kernel), INVALID_HANDLE);
    NEED(grid_x && grid_y && grid_z && block_x && block_y && block_z, INVALID_VALUE);
    NEED(block_x * block_y * block_z <= 1024 && block_z <= 64 && grid_y <= 65535 && grid_z <= 65535, INVALID_VALUE);
    NEED(shared_bytes == 0 && (arguments || packed), INVALID_VALUE);
    if (packed) { /* CU_LAUNCH_PARAM_BUFFER_POINTER, the bytes, CU_LAUNCH_PARAM_BUFFER_SIZE, how many */
        NEED(packed[0] == (void *)1 && packed[2] == (void *)2, INVALID_VALUE);
        NEED(*(size_t *)packed[3] == kernel->n_bytes, INVALID_VALUE);
    }
    Launch *launch = malloc(sizeof *launch + kernel->n_bytes);
    if (!launch)
        abort();
    *launch = (Launch){kernel->run, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}};
    memcpy(launch->argument, packed ? packed[1] : arguments[0], kernel->n_bytes);
    return enqueue(stream, (Work){.function = run_launch, .argument = launch});
}

/* ---- graphs */

int cuStreamBeginCapture_v2(Stream *stream, int mode)
{
    BEGIN("cuStreamBeginCapture");
    NEED(has(streams, stream), INVALID_HANDLE);
    NEED(mode == 1 && !stream->capture, INVALID_VALUE); /* another thread may allocate while one of ours captures */
    stream->capture = calloc(1, sizeof *stream->capture);
    if (!stream->capture)
        abort();
    stream->is_invalidated = 0;
    return SUCCESS;
}

int cuStreamEndCapture(Stream *stream, Graph **graph)
{
    int code = begin("cuStreamEndCapture");
    *graph = NULL;
    NEED(has(streams, stream), INVALID_HANDLE);
    NEED(stream->capture, INVALID_VALUE);
    Queue queue = *stream->capture;
    free(stream->capture);
    stream->capture = NULL; /* it ends, also with an error */
    if (!code && stream->is_invalidated)
        code = STREAM_CAPTURE_INVALIDATED;
    if (code) {
        free(queue.work);
        return code;
    }
    *graph = take(&graphs, sizeof **graph);
    (*graph)->queue = queue;
    return SUCCESS;
}

int cuGraphInstantiateWithFlags(Graph **execution, Graph *graph, unsigned long long flags)
{
    BEGIN("cuGraphInstantiateWithFlags");
    NEED(has(graphs, graph), INVALID_HANDLE);
    NEED(flags == 0, INVALID_VALUE);
    *execution = take(&graphs, sizeof **execution);
    for (size_t i = 0; i < graph->queue.count; i++)
        push(&(*execution)->queue, graph->queue.work[i]);
    return SUCCESS;
}

int cuGraphLaunch(Graph *execution, Stream *stream)
{
    BEGIN("cuGraphLaunch");
    NEED(has(graphs, execution), INVALID_HANDLE);
    int code = SUCCESS;
    for (size_t i = 0; i < execution->queue.count && !code; i++)
        code = enqueue(stream, execution->queue.work[i]);
    return code;
}

int cuGraphDestroy(Graph *graph)
{
    BEGIN("cuGraphDestroy");
    NEED(has(graphs, graph), INVALID_HANDLE);
    free(graph->queue.work);
    give(&graphs, graph);
    return SUCCESS;
}

int cuGraphExecDestroy(Graph *execution) { return cuGraphDestroy(execution); }

/* ---- how cuda-bindings finds the functions: by name without a version, of which the newest is meant */

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status)
{
    char newest[128];
    void *self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    (void)version;
    (void)flags;
    snprintf(newest, sizeof newest, "%s_v2", name);
    *function = self ? dlsym(self, newest) : NULL;
    if (self && !*function)
        *function = dlsym(self, name);
    if (status)
        *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}

int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags)
{
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}

/* ---- for the tests */

void stand_in_fail(const char *call, int code, int nth)
{
    snprintf(planned.call, sizeof planned.call, "%s", call);
    planned.code = code;
    planned.nth = nth;
}

void stand_in_set_device(int count, int integrated, size_t memory_bytes)
{
    n_devices = count;
    is_integrated = integrated;
    limit_bytes = memory_bytes;
    is_initialized = 0;
}

int stand_in_live_allocations(void)
{
    int n = 0;
    for (Memory *memory = memories; memory; memory = memory->next)
        n++;
    return n;
}

int stand_in_live_handles(void) { return count(streams) + count(events) + count(graphs) + count(modules); }

int stand_in_live_contexts(void) { return primary_retained; }

int stand_in_context_depth(void) { return context_depth; }

int stand_in_overruns(void) { return overruns; }

int stand_in_pending(void)
{
    size_t n = 0;
    for (Thing *thing = streams; thing; thing = thing->next)
        n += ((Stream *)thing)->queue.count - ((Stream *)thing)->done;
    return (int)n;
}

/* As a new process: forgets all that is left, and every error. */
void stand_in_reset(void)
{
    while (memories)
        give_memory(memories->start, memories->is_device);
    while (streams) {
        free(((Stream *)streams)->queue.work);
        free(((Stream *)streams)->capture);
        give(&streams, streams);
    }
    while (events)
        give(&events, events);
    while (kernels)
        give(&kernels, kernels);
    while (modules)
        give(&modules, modules);
    while (graphs) {
        free(((Graph *)graphs)->queue.work);
        give(&graphs, graphs);
    }
    sticky = overruns = primary_retained = context_depth = 0;
    planned.nth = 0;
    stand_in_set_device(1, 0, (size_t)1 << 30);
}
