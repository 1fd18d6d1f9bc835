// SPDX-License-Identifier: MIT
using Fleece.TestKit;

namespace Fleece.Images.Tests.Crashes;

/// <summary>A format, or a variant of one, that the crash tests run over.</summary>
/// <param name="Name">Unique; test runners show it.</param>
/// <param name="Format">The format.</param>
/// <param name="Make">Makes an image; a parent is a file in the folder.</param>
internal sealed record CrashRow(string Name, ImageFormat Format, Func<TempFolder, Seeds, CrashImage> Make)
{
    /// <summary>The allocation unit; the disk has more than two.</summary>
    public required int BlockBytes { get; init; }

    /// <summary>A crash tears a write at multiples of this.</summary>
    public int TearBytes { get; init; } = 512;

    /// <summary>Of a hundred requests, those that may be as long as the disk; the others have at most 20 000 bytes.</summary>
    public int LongPercent { get; init; }

    /// <summary>Runs of one test.</summary>
    public int Rounds { get; init; } = 2;

    /// <summary>Of the first changes of a file each n-th is one from which on all changes fail, in a run of its own.</summary>
    public int FailureStep { get; init; } = 1;

    /// <summary>Requests of a run.</summary>
    public int Requests { get; init; } = 80;

    /// <summary>Crashes of a run that goes on after each of them.</summary>
    public int Generations { get; init; } = 8;

    /// <summary>True when the image is made or judged by QEMU's tools.</summary>
    public bool NeedsQemu { get; init; }

    /// <summary>True when a crash after a change leaves an image that says it is in use.</summary>
    public bool IsDirtyAfterCrash { get; init; }

    /// <summary>True when a repair of leaks gives back all that a crash leaks.</summary>
    public bool RepairsAllLeaks { get; init; } = true;

    /// <summary>A second reader of the format judges the image that a crash has left, and the content that Fleece reads from it.</summary>
    public Action<CrashImage, byte[], byte[], string>? Audit { get; init; }

    /// <summary>Another program judges an image; the flag says that the image was closed, so that not even a leak is left.</summary>
    public Action<TempFolder, byte[], bool, string>? AuditByPeer { get; init; }

    public override string ToString() => Name;
}
