// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Images;

/// <summary>How far a session's log had come.</summary>
/// <param name="Id">The id of the log.</param>
/// <param name="MapsNumber">The number of the maps that it went on from, which grows with each compaction.</param>
/// <param name="RecordsBytes">Bytes of its records that counted.</param>
internal readonly record struct LogPosition(Guid Id, long MapsNumber, long RecordsBytes)
{
    /// <summary>True when a log that had come so far is an earlier state of the one that had come to another position.</summary>
    public bool IsBefore(LogPosition other) =>
        MapsNumber < other.MapsNumber || (MapsNumber == other.MapsNumber && RecordsBytes < other.RecordsBytes);
}

/// <summary>An image, and the logs of its sessions, as the process that had them last looked at them: the part of a marker that is written
/// over once a second, behind its text, and without logs a part of a sidecar.</summary>
/// <remarks>
/// <code>
///  0  4  CRC-32C of the rest                           16  8  time of last change of the image
///  4  4  count of logs                                 24  8  the clock's time before the image was looked at
///  8  8  length of the image                           32  8  the latest time of last change of the image and of temp
///                                                      40     for each log 16 bytes of its id, 8 of MapsNumber, 8 of RecordsBytes
/// </code>
/// <para>In a marker it lies at the first multiple of 4096 behind the text, so that writing it touches nothing of that. One that was torn
/// counts as none.</para>
/// </remarks>
/// <param name="ImageBytes">Length of the image.</param>
/// <param name="ImageTicks">When it was changed last.</param>
/// <param name="ClockTicks">The clock's time before it was looked at.</param>
/// <param name="Logs">Where the logs of the sessions were.</param>
internal sealed record ImageStamp(long ImageBytes, long ImageTicks, long ClockTicks, IReadOnlyList<LogPosition> Logs)
{
    /// <summary>When the image or a temp image was changed last, which may lie ahead of the clock; 0 where no session needs it.</summary>
    public long LatestTicks { get; init; }

    /// <summary>The unit in which it lies behind the text.</summary>
    public const int AlignmentBytes = 4096;

    /// <summary>Bytes of one without logs.</summary>
    public const int HeaderBytes = 40;

    private const int LogBytes = 32;

    /// <summary>Where it lies behind a text.</summary>
    public static int OffsetBehind(int textBytes) => (textBytes + AlignmentBytes - 1) & -AlignmentBytes;

    /// <summary>True when the image was changed by another process than the one that had the witness, a file that has a stamp.</summary>
    /// <remarks>That process may have changed it behind the stamp: about at the time of the clock, or of the witness, then.</remarks>
    /// <param name="stamp">The stamp; null where the witness has none, so that its time alone tells.</param>
    /// <param name="image">The image.</param>
    /// <param name="witnessTicks">When the witness was changed last.</param>
    public static bool IsChanged(ImageStamp? stamp, FileEvidence image, long witnessTicks) => stamp is null
        ? image.IsChangedAfter(witnessTicks)
        : (image.LengthBytes, image.ModifiedTicks) != (stamp.ImageBytes, stamp.ImageTicks) &&
            !image.IsChangedAbout(witnessTicks) && !image.IsChangedAbout(stamp.ClockTicks);

    /// <summary>Looks at an image.</summary>
    /// <exception cref="BlockException">Why it can't be looked at.</exception>
    public static ImageStamp Of(string imagePath, IReadOnlyList<LogPosition> logs)
    {
        long clockTicks = DateTime.UtcNow.Ticks;
        FileEvidence image = FileEvidence.Read(imagePath);
        return new ImageStamp(image.LengthBytes, image.ModifiedTicks, clockTicks, logs);
    }

    /// <summary>As <see cref="Of"/>, without logs; null for an image that can't be looked at.</summary>
    public static ImageStamp? TryOf(string imagePath)
    {
        try
        {
            return Of(imagePath, []);
        }
        catch (BlockException)
        {
            return null;
        }
    }

    /// <summary>As bytes.</summary>
    public byte[] Encode()
    {
        byte[] bytes = new byte[HeaderBytes + Logs.Count * LogBytes];
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), Logs.Count);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), ImageBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), ImageTicks);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), ClockTicks);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(32), LatestTicks);
        for (int i = 0; i < Logs.Count; i++)
        {
            Span<byte> log = bytes.AsSpan(HeaderBytes + i * LogBytes, LogBytes);
            Logs[i].Id.TryWriteBytes(log);
            BinaryPrimitives.WriteInt64LittleEndian(log[16..], Logs[i].MapsNumber);
            BinaryPrimitives.WriteInt64LittleEndian(log[24..], Logs[i].RecordsBytes);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Crc32C.Of(bytes.AsSpan(sizeof(uint))));
        return bytes;
    }

    /// <summary>Reads one; null for bytes that are none.</summary>
    public static ImageStamp? Decode(ReadOnlySpan<byte> bytes)
    {
        int count = bytes.Length < HeaderBytes ? -1 : BinaryPrimitives.ReadInt32LittleEndian(bytes[4..]);
        if (count < 0 || count > (bytes.Length - HeaderBytes) / LogBytes ||
            Crc32C.Of(bytes[sizeof(uint)..(HeaderBytes + count * LogBytes)]) != BinaryPrimitives.ReadUInt32LittleEndian(bytes))
        {
            return null;
        }

        LogPosition[] logs = new LogPosition[count];
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> log = bytes.Slice(HeaderBytes + i * LogBytes, LogBytes);
            logs[i] = new LogPosition(
                new Guid(log[..16]),
                BinaryPrimitives.ReadInt64LittleEndian(log[16..]),
                BinaryPrimitives.ReadInt64LittleEndian(log[24..]));
        }

        return new ImageStamp(
            BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            logs)
        {
            LatestTicks = BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]),
        };
    }
}
