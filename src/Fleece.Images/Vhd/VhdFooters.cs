// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>The two footers of a file: the one at its end, which counts, and the copy at its start that dynamic and
/// differencing images have.</summary>
/// <remarks>
/// A program that dies while a dynamic image grows can leave a block where the footer was; the copy stands in for it then
/// ("Hard Disk Footer Format": a redundant copy is kept for that). Two whole footers that contradict each other are damage of
/// another kind: such an image is only read, by the footer at the end.
/// </remarks>
internal sealed record VhdFooters
{
    /// <summary>The footer in force.</summary>
    public required VhdFooter Footer { get; init; }

    /// <summary>Where the footer at the end begins; null when that one is damaged.</summary>
    public required long? TrailerOffsetBytes { get; init; }

    /// <summary>What is wrong with the footer at the end, or null.</summary>
    public string? TrailerProblem { get; init; }

    /// <summary>What is wrong with the copy at the start, or null; fixed images have none.</summary>
    public string? CopyProblem { get; init; }

    /// <summary>True when both are whole and say different things.</summary>
    public bool AreContradictory { get; init; }

    /// <summary>Length of the file when the footers were read.</summary>
    public required long FileLengthBytes { get; init; }

    /// <summary>Where everything but the footer has to end.</summary>
    public long ContentEndBytes => TrailerOffsetBytes ?? FileLengthBytes;

    /// <summary>The end of the last sector that the file reaches into: where a footer goes when there is none at the end.</summary>
    public long EndOfSectorsBytes => (FileLengthBytes + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes;

    /// <summary>True when the file begins or ends like a VHD.</summary>
    public static bool HasCookie(IContainerFile file, ReadOnlySpan<byte> head)
    {
        Span<byte> trailer = stackalloc byte[VhdFooter.LengthBytes];
        return VhdFooter.HasCookie(head) || ReadTrailer(file, file.GetLength(), trailer) is not null;
    }

    /// <summary>Reads both and decides.</summary>
    /// <exception cref="BlockException">WrongFormat, Corrupt, Unsupported, EmptyImage; read errors.</exception>
    public static VhdFooters Read(IContainerFile file)
    {
        long fileBytes = file.GetLength();
        Span<byte> head = stackalloc byte[VhdFooter.LengthBytes];
        Span<byte> trailer = stackalloc byte[VhdFooter.LengthBytes];
        file.Read(0, head);
        long? trailerOffsetBytes = ReadTrailer(file, fileBytes, trailer);
        if (trailerOffsetBytes is null && !VhdFooter.HasCookie(head))
        {
            throw new BlockException(
                ImageErrors.WrongFormat,
                $"'{file.Path}' is not a VHD image: neither its first nor its last sector holds the cookie 'conectix'. Name the right " +
                "format with -Format, or leave it out.",
                file.Path);
        }

        VhdFooter? atEnd = VhdFooter.TryParse(trailer, out string endProblem);
        VhdFooter? copy = VhdFooter.TryParse(head, out string copyProblem);
        VhdFooters footers = atEnd is not null
            ? WithTrailer(atEnd, trailerOffsetBytes, copy, copyProblem, fileBytes)
            : WithCopy(file.Path, copy, endProblem, copyProblem, fileBytes);
        footers.Footer.CheckSize(file.Path);
        return footers;
    }

    private static VhdFooters WithTrailer(
        VhdFooter atEnd, long? trailerOffsetBytes, VhdFooter? copy, string copyProblem, long fileBytes)
    {
        // What a fixed disk starts with is the guest's.
        string? difference = atEnd.Type == VhdDiskType.Fixed || copy is null ? null : atEnd.FindContradiction(copy);
        string? problem = difference is not null ? $"says {difference}" : copyProblem;
        return new VhdFooters
        {
            Footer = atEnd,
            TrailerOffsetBytes = trailerOffsetBytes,
            CopyProblem = atEnd.Type == VhdDiskType.Fixed || problem.Length == 0 ? null : problem,
            AreContradictory = difference is not null,
            FileLengthBytes = fileBytes,
        };
    }

    private static VhdFooters WithCopy(
        string path, VhdFooter? copy, string endProblem, string copyProblem, long fileBytes)
    {
        if (copy is null || copy.Type == VhdDiskType.Fixed)
        {
            string atStart = copy is null ? $"the copy at the start {copyProblem}" : "a fixed image has no copy of it";
            throw FormatFault.Vhd.Corrupt(path, $"the footer at the end {endProblem}, and {atStart}");
        }

        return new VhdFooters
        {
            Footer = copy,
            TrailerOffsetBytes = null,
            TrailerProblem = endProblem,
            FileLengthBytes = fileBytes,
        };
    }

    // Behind the end of the file there are zeros, so that the 512th byte of an old footer reads as one.
    private static long? ReadTrailer(IContainerFile file, long fileBytes, Span<byte> trailer)
    {
        foreach (int lengthBytes in (ReadOnlySpan<int>)[VhdFooter.LengthBytes, VhdFooter.OldLengthBytes])
        {
            long offsetBytes = fileBytes - lengthBytes;
            if (offsetBytes >= 0)
            {
                file.Read(offsetBytes, trailer);
                if (VhdFooter.HasCookie(trailer))
                {
                    return offsetBytes;
                }
            }
        }

        return null;
    }
}
