// SPDX-License-Identifier: MIT
using Fleece.Block.Logs;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Logs;

/// <summary>Records that count, and those that do not: torn ends, damage, and logs that say more than there is.</summary>
public sealed class RecordLogTests : IDisposable
{
    private const int Records = 12;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Records_come_back_in_their_order_and_more_go_behind_them()
    {
        string path = Write(Records);
        using (MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes))
        {
            RecordLog log = LogChild.LogOf(file);
            Assert.Null(ReadAll(log, file, out uint count));
            Assert.Equal((uint)Records, count);
            Assert.True(log.TryAppend(LogChild.Kind, LogChild.Payload(count), file.LengthBytes));
        }

        Assert.Null(Read(path, out uint more));
        Assert.Equal(Records + 1u, more);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(RecordLog.MaximumPayloadBytes)]
    public void A_payload_of_any_length_comes_back(int payloadBytes)
    {
        string path = _folder.NewFile();
        byte[] payload = new Seeds(1).Bytes(payloadBytes);
        using MappedFile file = MappedFile.Create(path, LogChild.SegmentBytes);
        RecordLog log = LogChild.LogOf(file);
        log.Clear();
        Assert.True(log.TryAppend(ushort.MaxValue, payload, file.LengthBytes));

        byte[]? read = null;
        Assert.Null(LogChild.LogOf(file).Read(file.LengthBytes, (kind, bytes) =>
        {
            Assert.Equal(ushort.MaxValue, kind);
            read = bytes.ToArray();
            return null;
        }));
        Assert.Equal(payload, read);
    }

    [Fact]
    public void A_log_that_is_full_to_the_last_byte_of_its_room_is_read_again()
    {
        using MappedFile file = MappedFile.Create(_folder.NewFile(), LogChild.SegmentBytes);
        RecordLog log = LogChild.LogOf(file);
        log.Clear();
        long endBytes = LogChild.StartBytes + 3 * RecordLog.RecordBytes(16);
        while (log.TryAppend(LogChild.Kind, new byte[16], endBytes))
        {
        }

        RecordLog again = LogChild.LogOf(file);
        Assert.Null(again.Read(endBytes, static (_, _) => null));
        Assert.Equal(endBytes, LogChild.StartBytes + again.CountBytes);
    }

    [Fact]
    public void A_record_of_no_kind_is_damage()
    {
        using MappedFile file = MappedFile.Create(_folder.NewFile(), LogChild.SegmentBytes);
        RecordLog log = LogChild.LogOf(file);
        log.Clear();
        log.TryAppend(0, new byte[16], file.LengthBytes);

        Assert.NotNull(LogChild.LogOf(file).Read(file.LengthBytes, static (_, _) => null));
    }

    [Fact]
    public void A_record_that_does_not_fit_changes_nothing()
    {
        string path = _folder.NewFile();
        using MappedFile file = MappedFile.Create(path, LogChild.SegmentBytes);
        RecordLog log = LogChild.LogOf(file);
        log.Clear();
        int recordBytes = RecordLog.RecordBytes(8);
        Assert.True(log.TryAppend(LogChild.Kind, new byte[8], LogChild.StartBytes + recordBytes));
        byte[] before = Content(file);

        Assert.False(log.TryAppend(LogChild.Kind, new byte[8], LogChild.StartBytes + 2 * recordBytes - 1));

        Assert.Equal(before, Content(file));
        Assert.Equal(recordBytes, log.CountBytes);
    }

    [Fact]
    public void A_cleared_log_reads_as_empty_whatever_lies_behind()
    {
        string path = Write(Records);
        using (MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes))
        {
            LogChild.LogOf(file).Clear();
        }

        Assert.Null(Read(path, out uint count));
        Assert.Equal(0u, count);
    }

    // A bit of each byte: the count, each part of a record, its padding.
    [Fact]
    public void Damage_to_any_byte_that_counts_shows()
    {
        string path = Write(Records);
        byte[] whole = File.ReadAllBytes(path);
        int endBytes = EndBytes();
        for (int at = 0; at < endBytes; at++)
        {
            if (at is >= LogChild.CountOffsetBytes + 8 and < LogChild.StartBytes or < LogChild.CountOffsetBytes)
            {
                continue;
            }

            byte[] damaged = [.. whole];
            damaged[at] ^= (byte)(1 << (at % 8));
            File.WriteAllBytes(path, damaged);

            Assert.True(Read(path, out _) is not null, $"damage at {at} does not show");
        }
    }

    [Fact]
    public void Bytes_behind_the_end_do_not_count()
    {
        string path = Write(Records);
        byte[] torn = File.ReadAllBytes(path);
        torn.AsSpan(EndBytes(), 200).Fill(0xA5);
        File.WriteAllBytes(path, torn);

        Assert.Null(Read(path, out uint count));
        Assert.Equal((uint)Records, count);
    }

    // As with a copy of the file that was cut short: what is missing was counted, so it shows, and nothing throws.
    [Fact]
    public void A_log_that_is_cut_at_any_byte_is_refused()
    {
        string path = Write(Records);
        byte[] whole = File.ReadAllBytes(path);
        for (int length = LogChild.StartBytes; length < EndBytes(); length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            using MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes);
            Assert.Equal(0, file.LengthBytes);
            Assert.Equal(length, new FileInfo(path).Length);

            // The same bytes at the end of a whole segment.
            byte[] padded = new byte[LogChild.SegmentBytes];
            whole.AsSpan(0, length).CopyTo(padded);
            string zeros = _folder.NewFile();
            File.WriteAllBytes(zeros, padded);
            bool isSame = padded.AsSpan().SequenceEqual(whole.AsSpan(0, padded.Length));
            Assert.True(isSame || Read(zeros, out _) is not null, $"a log cut at {length} is read");
            File.Delete(zeros);
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(LogChild.SegmentBytes)]
    [InlineData(1L << 39)]
    public void A_count_beyond_the_records_is_refused(long moreBytes)
    {
        string path = Write(Records);
        using (MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes))
        {
            file.StoreNumber(LogChild.CountOffsetBytes, (ulong)(EndBytes() - LogChild.StartBytes + moreBytes));
        }

        Assert.NotNull(Read(path, out _));
    }

    [Fact]
    public void A_count_that_ends_within_a_record_is_refused()
    {
        string path = Write(Records);
        using (MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes))
        {
            file.StoreNumber(LogChild.CountOffsetBytes, (ulong)(EndBytes() - LogChild.StartBytes - 8));
        }

        Assert.NotNull(Read(path, out _));
    }

    [Fact]
    public void The_records_of_another_log_are_refused()
    {
        string path = Write(Records);
        using MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes);

        RecordLog other = new(file, Guid.NewGuid(), LogChild.CountOffsetBytes, LogChild.StartBytes);

        Assert.NotNull(ReadAll(other, file, out _));
    }

    // The same record, whole, at the wrong place of its own log.
    [Fact]
    public void A_record_at_another_offset_is_refused()
    {
        string path = _folder.NewFile();
        int recordBytes = RecordLog.RecordBytes(8);
        using MappedFile file = MappedFile.Create(path, LogChild.SegmentBytes);
        RecordLog log = LogChild.LogOf(file);
        log.Clear();
        Assert.True(log.TryAppend(LogChild.Kind, new byte[8], file.LengthBytes));
        Assert.True(log.TryAppend(LogChild.Kind, new byte[8], file.LengthBytes));
        byte[] first = new byte[recordBytes];
        file.Read(LogChild.StartBytes, first);
        file.Write(LogChild.StartBytes + recordBytes, first);

        Assert.NotNull(LogChild.LogOf(file).Read(file.LengthBytes, (_, _) => null));
    }

    [Fact]
    public void The_readers_fault_ends_the_reading()
    {
        string path = Write(Records);
        using MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes);
        int seen = 0;

        string? fault = LogChild.LogOf(file).Read(file.LengthBytes, (_, _) => ++seen == 3 ? "the third is odd" : null);

        Assert.Equal(("the third is odd", 3), (fault, seen));
    }

    [Fact]
    public void An_appended_record_allocates_nothing()
    {
        string path = _folder.NewFile();
        using MappedFile file = MappedFile.Create(path, 1024 * 1024);
        RecordLog log = LogChild.LogOf(file);
        log.Clear();
        byte[] payload = new byte[24];
        log.TryAppend(LogChild.Kind, payload, file.LengthBytes);
        long before = GC.GetAllocatedBytesForCurrentThread();

        for (int i = 0; i < 100; i++)
        {
            log.TryAppend(LogChild.Kind, payload, file.LengthBytes);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    private static int EndBytes() =>
        LogChild.StartBytes + Enumerable.Range(0, Records).Sum(number => RecordLog.RecordBytes(LogChild.Payload((uint)number).Length));

    private string Write(int records)
    {
        string path = _folder.NewFile();
        using MappedFile file = MappedFile.Create(path, LogChild.SegmentBytes);
        RecordLog log = LogChild.LogOf(file);
        log.Clear();
        for (uint number = 0; number < records; number++)
        {
            Assert.True(log.TryAppend(LogChild.Kind, LogChild.Payload(number), file.LengthBytes));
        }

        return path;
    }

    private static byte[] Content(MappedFile file)
    {
        byte[] content = new byte[file.LengthBytes];
        file.Read(0, content);
        return content;
    }

    private static string? Read(string path, out uint count)
    {
        using MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes);
        return ReadAll(LogChild.LogOf(file), file, out count);
    }

    internal static string? ReadAll(RecordLog log, MappedFile file, out uint count)
    {
        uint next = 0;
        string? fault = log.Read(
            file.LengthBytes, (_, payload) => payload.SequenceEqual(LogChild.Payload(next++)) ? null : "a record has another's bytes");
        count = next;
        return fault;
    }
}
