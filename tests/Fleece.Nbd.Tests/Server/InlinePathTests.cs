// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Reflection;
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Server.Requests;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>What a request costs that the connection's own thread serves at once: no allocation, and one send for many.</summary>
public sealed class InlinePathTests
{
    private const int Rounds = 5;
    private const int RequestsEach = 400;

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Reads_and_writes_allocate_nothing(HeaderMode mode)
    {
        Assert.SkipWhen(
            typeof(NbdServer).Assembly.GetCustomAttribute<DebuggableAttribute>() is { IsJITOptimizerDisabled: true },
            "Allocations are counted in Release builds.");
        Assert.Equal(0, (await ServeAsync(mode)).FewestAllocatedBytes);
    }

    [Fact]
    public async Task Replies_of_requests_that_came_together_leave_together()
    {
        MeasuredStream stream = await ServeAsync(HeaderMode.Simple);

        // A first buffer holds some 64 KiB of them.
        Assert.InRange(stream.WriteCount, 1, 40 * Rounds);
    }

    private static async Task<MeasuredStream> ServeAsync(HeaderMode mode)
    {
        await using BlockDevice device = new(new MemoryNode(1024 * 1024), "vm");
        byte[] data = new Seeds(1).Bytes(512);
        await device.WriteAsync(4096, data);
        List<byte> round = [];
        for (int i = 0; i < RequestsEach; i++)
        {
            round.AddRange(Packet.Request(mode, (int)NbdCommand.Read, (ulong)i, 4096, 512));
            round.AddRange(Packet.Write(mode, (ulong)i, 8192, data));
            round.AddRange(Packet.Request(mode, (int)NbdCommand.Read, (ulong)i, 65536, 4096));
        }

        MeasuredStream stream = new([.. round]);
        NbdExport export = new() { Name = "vm", Device = device, Access = ExportAccess.Write, Contexts = [] };
        Negotiated negotiated = new(stream, export, mode != HeaderMode.Simple, mode == HeaderMode.Extended, []);
        using CancellationTokenSource ended = new();
        using Transmission transmission = new(
            negotiated, new MemoryBudget(64 * 1024 * 1024), new WorkThreads("Fleece NBD I/O"), ended, "measured");
        transmission.Run();
        Assert.Equal(0, stream.LeftBytes);
        return stream;
    }

    /// <summary>Gives the same requests round after round, and notes what was allocated between the rounds.</summary>
    private sealed class MeasuredStream(byte[] round) : Stream
    {
        private int _rounds = Rounds;
        private int _at = round.Length;
        private long _before;

        public long FewestAllocatedBytes { get; private set; } = long.MaxValue;

        public int WriteCount { get; private set; }

        public int LeftBytes => round.Length - _at;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override int WriteTimeout { get; set; }

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(Span<byte> buffer)
        {
            if (_at == round.Length)
            {
                long now = GC.GetAllocatedBytesForCurrentThread();
                FewestAllocatedBytes = _before == 0 ? FewestAllocatedBytes : Math.Min(FewestAllocatedBytes, now - _before);
                _before = now;
                if (_rounds-- == 0)
                {
                    return 0;
                }

                _at = 0;
            }

            int bytes = Math.Min(buffer.Length, round.Length - _at);
            round.AsSpan(_at, bytes).CopyTo(buffer);
            _at += bytes;
            return bytes;
        }

        public override void Write(ReadOnlySpan<byte> buffer) => WriteCount++;

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
