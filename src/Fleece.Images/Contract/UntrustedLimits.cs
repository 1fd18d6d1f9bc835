// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images;

/// <summary>The most that an image from a stranger may cost. docs/formats/strangers.md gives the reason for each figure.</summary>
/// <remarks>Threading. Immutable; safe from any thread.</remarks>
public sealed record UntrustedLimits
{
    /// <summary>The figures that <c>-Untrusted</c> stands for.</summary>
    public static UntrustedLimits Default { get; } = new();

    /// <summary>Largest disk, in bytes: that of a VHDX, 64 TiB.</summary>
    public long MaximumDiskBytes { get; init; } = 64L << 40;

    /// <summary>Most images in a chain.</summary>
    public int MaximumImages { get; init; } = 16;

    /// <summary>Most memory for the tables and bitmaps that are held whole, of all images of a chain together, in bytes.</summary>
    public long MaximumTableBytes { get; init; } = 256L << 20;

    /// <summary>Longest check of the metadata, and longest count of the refcounts of a dirty image when it is opened for writing.</summary>
    public TimeSpan CheckTime { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Bytes that a conversion or comparison reads of any disk, however little its files store.</summary>
    public long FreeReadBytes { get; init; } = 4L << 30;

    /// <summary>Bytes that a conversion or comparison reads of a disk for each byte that its files store; deflate packs 1032 to
    /// 1.</summary>
    public int ReadBytesPerStoredByte { get; init; } = 1024;

    /// <summary>A conversion reads at most one n-th of what is free where the new image is made.</summary>
    public int FreeSpaceDivisor { get; init; } = 2;

    /// <summary>Bytes that are read of a disk at most, whatever its files store; a conversion sets it by <see cref="FreeSpaceDivisor"/>.
    /// </summary>
    public long MaximumReadBytes { get; init; } = long.MaxValue;

    /// <summary>The advice, for a user who gave -Untrusted; the part of a sentence.</summary>
    internal const string TrustAdvice = "Leave -Untrusted out if you trust the image";

    /// <summary>The error of an image that is beyond a limit.</summary>
    /// <param name="path">The image.</param>
    /// <param name="what">What is beyond it, with the limit; a part of a sentence.</param>
    public static BlockException Exceeded(string path, string what) => new(
        ImageErrors.LimitExceeded,
        $"'{path}' is beyond a limit of -Untrusted: {what}. {TrustAdvice}.",
        path,
        operation: "open");

    /// <summary>Does work that looks at a token: for <see cref="CheckTime"/> at most, or as long as it takes where there are no
    /// limits.</summary>
    /// <exception cref="BlockException">LimitExceeded: the time is over.</exception>
    internal static T WithinCheckTime<T>(
        UntrustedLimits? limits, string path, Func<CancellationToken, T> work, CancellationToken cancellationToken)
    {
        if (limits is null)
        {
            return work(cancellationToken);
        }

        using CancellationTokenSource clock = new(limits.CheckTime);
        using CancellationTokenSource time = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, clock.Token);
        try
        {
            return work(time.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw Exceeded(path, $"its metadata was not examined within {limits.CheckTime.TotalSeconds:0} seconds");
        }
    }
}
