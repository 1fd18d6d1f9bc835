// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Block;

namespace Fleece.Images.Qcow2.Compression;

/// <summary>Zstandard, one frame for each cluster.</summary>
/// <remarks>
/// <para>Zstd's own contexts are large and costly to make, so some are kept for the next call, at most one of each sort for a
/// processor; they belong to the process and are never given back.</para>
/// <para>Reading takes what QEMU takes: frames one behind the other, until the cluster is full, and then anything. The length
/// of a frame is worked out first, because the data's length is known in sectors only.</para>
/// </remarks>
internal sealed unsafe class ZstdCodec : IClusterCodec
{
    // What QEMU uses: zstd's own default.
    private const int Level = 3;

    private static readonly Lazy<object> Loaded = new(() => Load(ZstdLibrary.ExpectedPath));

    private readonly ZstdLibrary _zstd;
    private readonly ConcurrentBag<nint> _compressors = [];
    private readonly ConcurrentBag<nint> _decompressors = [];

    internal ZstdCodec(ZstdLibrary zstd) => _zstd = zstd;

    public ImageCompression Compression => ImageCompression.Zstd;

    /// <summary>The codec of the process.</summary>
    /// <exception cref="BlockException">Unsupported: the library is not there.</exception>
    public static ZstdCodec Find(string path) => Loaded.Value as ZstdCodec ?? throw Missing(path, (Exception)Loaded.Value);

    public bool TryCompress(ReadOnlySpan<byte> cluster, Memory<byte> target, int mostBytes, out int lengthBytes)
    {
        void* compressor = _compressors.TryTake(out nint kept) ? (void*)kept : NotNull(_zstd.CreateCompressor());
        try
        {
            fixed (byte* from = cluster, to = target.Span)
            {
                nuint written = _zstd.Compress(compressor, to, (nuint)mostBytes, from, (nuint)cluster.Length, Level);
                bool isStored = !_zstd.IsError(written);
                lengthBytes = isStored ? (int)written : 0;
                return isStored;
            }
        }
        finally
        {
            Keep(_compressors, compressor, _zstd.FreeCompressor);
        }
    }

    public bool TryDecompress(ReadOnlySpan<byte> source, int sourceBytes, Span<byte> cluster)
    {
        ReadOnlySpan<byte> left = source[..sourceBytes];
        void* decompressor = _decompressors.TryTake(out nint kept) ? (void*)kept : NotNull(_zstd.CreateDecompressor());
        try
        {
            while (!cluster.IsEmpty)
            {
                if (left.IsEmpty)
                {
                    return false;
                }

                fixed (byte* from = left, to = cluster)
                {
                    nuint frameBytes = _zstd.FindFrameBytes(from, (nuint)left.Length);
                    if (_zstd.IsError(frameBytes))
                    {
                        return false;
                    }

                    nuint written = _zstd.Decompress(decompressor, to, (nuint)cluster.Length, from, frameBytes);
                    if (_zstd.IsError(written))
                    {
                        return false;
                    }

                    left = left[(int)frameBytes..];
                    cluster = cluster[(int)written..];
                }
            }

            return true;
        }
        finally
        {
            Keep(_decompressors, decompressor, _zstd.FreeDecompressor);
        }
    }

    /// <summary>The codec, or the exception that says why there is none.</summary>
    internal static object Load(string libraryPath)
    {
        try
        {
            return new ZstdCodec(ZstdLibrary.Load(libraryPath));
        }
        catch (Exception failure)
            when (failure is IOException or UnauthorizedAccessException or BadImageFormatException or TypeLoadException
                or MissingMethodException)
        {
            return failure;
        }
    }

    /// <summary>The error when zstd is asked for and not there; everything else works without it.</summary>
    internal static BlockException Missing(string path, Exception cause) => new(
        BlockErrors.Unsupported,
        $"The qcow2 image '{path}' is compressed with zstd, for which Fleece needs '{ZstdLibrary.ExpectedPath}', and that can't " +
        $"be loaded: {cause.Message} Install the module again, whole. Everything that is not compressed with zstd works without.",
        path,
        cause: cause);

    private static void* NotNull(void* context) => context is not null ? context : throw new InsufficientMemoryException();

    private static void Keep(ConcurrentBag<nint> bag, void* context, delegate*<void*, nuint> free)
    {
        if (bag.Count < Environment.ProcessorCount)
        {
            bag.Add((nint)context);
            return;
        }

        _ = free(context);
    }
}
