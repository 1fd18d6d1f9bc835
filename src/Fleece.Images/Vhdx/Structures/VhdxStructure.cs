// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>The validated structures of an image: what everything else relies on.</summary>
internal sealed record VhdxStructure
{
    public required VhdxHeaders Headers { get; init; }

    /// <summary>The file with its log replayed in memory; null when there is nothing to replay.</summary>
    public required ReplayedFile? Replayed { get; init; }

    public required RegionTable Regions { get; init; }

    public required VhdxMetadata Metadata { get; init; }

    /// <summary>The regions that hold no blocks, the headers first.</summary>
    public IEnumerable<BlockRange> OwnRanges =>
    [
        new BlockRange(0, VhdxFormat.MiB),
        new BlockRange(Headers.Current.LogOffsetBytes, Headers.Current.LogLengthBytes),
        Regions.Bat,
        Regions.Metadata,
        .. Regions.Others,
    ];

    /// <summary>True when the header names a log that holds no whole entry.</summary>
    public required bool IsLogLost { get; init; }

    /// <summary>Reads and validates; nothing is allocated by what the file claims, and nothing is written.</summary>
    /// <param name="file">The file.</param>
    /// <param name="isLogNeeded">False for a check, which goes on when the log is lost.</param>
    /// <exception cref="BlockException">WrongFormat, Unsupported, Corrupt, Truncated, EmptyImage, BadImageSize; read
    /// errors.</exception>
    public static VhdxStructure Read(IContainerFile file, bool isLogNeeded = true)
    {
        VhdxHeaders headers = ReadHeaders(file);
        bool hasLog = headers.Current.LogGuid != Guid.Empty;
        LogSequence? sequence = hasLog ? LogSequence.Find(file, headers.Current) : null;
        bool isLogLost = hasLog && sequence is null;
        if (isLogLost && isLogNeeded)
        {
            throw FormatFault.Vhdx.Corrupt(
                file.Path,
                $"its header's log_guid {headers.Current.LogGuid} says that there is a log to replay, and the log of " +
                $"{headers.Current.LogLengthBytes} bytes holds no whole entry of that name. Test-FleeceImage -Repair can clear it, at " +
                "the price of the last changes",
                headers.Current.LogOffsetBytes);
        }

        return ReadBehindLog(file, headers, sequence, isLogLost);
    }

    /// <summary>Replays the log into the file; it does nothing when the log is empty.</summary>
    /// <param name="keepsWriteGuid">True while file_write_guid must go on telling that nothing else has changed the file.</param>
    public void ReplayLog(bool keepsWriteGuid = false)
    {
        if (Replayed is not null)
        {
            if (!keepsWriteGuid)
            {
                Headers.Update(header => header with { FileWriteGuid = Guid.NewGuid() });
            }

            Replayed.Replay();
            Headers.Update(header => header with { LogGuid = Guid.Empty });
        }
    }

    /// <summary>Reads the two headers alone.</summary>
    /// <exception cref="BlockException">WrongFormat, Unsupported, Corrupt, Truncated; read errors.</exception>
    public static VhdxHeaders ReadHeaders(IContainerFile file)
    {
        Span<byte> signature = stackalloc byte[sizeof(ulong)];
        file.Read(0, signature);
        if (BinaryPrimitives.ReadUInt64LittleEndian(signature) != VhdxFormat.FileSignature)
        {
            throw new BlockException(
                ImageErrors.WrongFormat,
                $"'{file.Path}' is not a VHDX image: it does not start with 'vhdxfile'. Name the right format with -Format, or " +
                "leave it out.",
                file.Path);
        }

        long fileBytes = file.GetLength();
        return fileBytes >= VhdxFormat.MiB
            ? VhdxHeaders.Read(file)
            : throw FormatFault.Vhdx.Truncated(file.Path, $"the file has {fileBytes} bytes, its headers alone take 1 MiB");
    }

    private static VhdxStructure ReadBehindLog(
        IContainerFile file, VhdxHeaders headers, LogSequence? sequence, bool isLogLost)
    {
        ReplayedFile? replayed = sequence is null ? null : new ReplayedFile(file, headers.Current, sequence);
        IContainerFile view = replayed ?? file;
        RegionTable regions = RegionTable.Read(view, headers.Current);
        VhdxHeader header = headers.Current;
        long logEndBytes = header.LogOffsetBytes + header.LogLengthBytes;
        long endBytes = Math.Max(logEndBytes, Math.Max(regions.Bat.EndBytes, regions.Metadata.EndBytes));
        if (endBytes > view.GetLength())
        {
            throw FormatFault.Vhdx.Truncated(
                file.Path, $"its log and its regions reach up to {endBytes}, the file has {view.GetLength()} bytes");
        }

        return new VhdxStructure
        {
            Headers = headers,
            Replayed = replayed,
            IsLogLost = isLogLost,
            Regions = regions,
            Metadata = VhdxMetadata.Read(view, regions),
        };
    }
}
