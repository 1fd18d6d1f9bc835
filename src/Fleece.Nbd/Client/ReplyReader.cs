// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.CompilerServices;
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>Reads the replies of one connection, checks them, and puts what they bring where their requests want it.</summary>
/// <remarks>Every number is compared with what was asked before it is used (rule R5); what does not fit is
/// <see cref="NbdErrors.ProtocolViolated"/>. Source: NBD protocol, "Transmission phase".</remarks>
internal sealed partial class ReplyReader(Stream stream, NbdUri uri, AgreedExport export, NbdConnection connection)
{
    private readonly ReceiveBuffer _buffer = new(stream);

    /// <summary>Reads one simple reply or one chunk.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask ReadOneAsync()
    {
        int smallestBytes = export.IsExtended ? ChunkHeader.ExtendedBytes : SimpleReplyHeader.SizeBytes;
        await _buffer.RequireAsync(smallestBytes, connection.Requests.ExpectsLargeReads).ConfigureAwait(false);
        uint magic = BinaryPrimitives.ReadUInt32BigEndian(_buffer.Available);
        if (magic == NbdMagic.SimpleReply && !export.IsExtended)
        {
            await ReadSimpleAsync().ConfigureAwait(false);
        }
        else if (magic == (export.IsExtended ? NbdMagic.ExtendedReply : NbdMagic.StructuredReply) && export.Form != ReplyForm.Simple)
        {
            await ReadChunkAsync().ConfigureAwait(false);
        }
        else
        {
            throw Violation($"the magic 0x{magic:x8}", $"that of a reply in the {export.Form} form");
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadSimpleAsync()
    {
        SimpleReplyHeader header = SimpleReplyHeader.ReadAfterMagic(_buffer.Take(SimpleReplyHeader.SizeBytes)[sizeof(uint)..]);
        NbdRequest request = Find(header.Cookie);
        if (export.Form != ReplyForm.Simple && (request.Command == NbdCommand.Read || !IsUntouched(request)))
        {
            throw Violation($"a simple reply to a {request.Command}", "chunks");
        }

        if (header.Error != NbdError.None)
        {
            request.Fail(header.Error, string.Empty);
        }
        else if (request.Command == NbdCommand.BlockStatus)
        {
            throw Violation($"a simple reply to a status query", "chunks");
        }
        else if (request.Command == NbdCommand.Read)
        {
            await _buffer.CopyToAsync(request.Buffer).ConfigureAwait(false);
        }

        connection.Finish(request);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadChunkAsync()
    {
        int headerBytes = ChunkHeader.SizeBytes(export.IsExtended);
        await _buffer.RequireAsync(headerBytes, connection.Requests.ExpectsLargeReads).ConfigureAwait(false);
        ChunkHeader header = ChunkHeader.ReadAfterMagic(_buffer.Take(headerBytes)[sizeof(uint)..], export.IsExtended);
        NbdRequest request = Find(header.Cookie);
        if (export.IsExtended && header.Offset != (ulong)request.OffsetBytes)
        {
            throw Violation($"a chunk with offset {header.Offset}", $"the request's {request.OffsetBytes}");
        }

        switch (header.Type)
        {
            case ChunkType.None when header.Length == 0 && header.IsDone:
                break;
            case ChunkType.OffsetData when request.Command == NbdCommand.Read:
                await ReadDataAsync(request, header.Length).ConfigureAwait(false);
                break;
            case ChunkType.OffsetHole when request.Command == NbdCommand.Read && header.Length == ChunkHeader.HolePayloadBytes:
                await ReadHoleAsync(request).ConfigureAwait(false);
                break;
            case ChunkType.BlockStatus or ChunkType.BlockStatusExtended
                when request.Command == NbdCommand.BlockStatus && export.IsExtended == (header.Type == ChunkType.BlockStatusExtended):
                await ReadExtentsAsync(request, header.Length).ConfigureAwait(false);
                break;
            case var _ when header.IsError:
                await ReadErrorAsync(request, header).ConfigureAwait(false);
                break;
            default:
                throw Violation(
                    $"chunk {(ushort)header.Type} of {header.Length} bytes, flags {(ushort)header.Flags}, for a {request.Command}",
                    "one that answers it");
        }

        if (header.IsDone)
        {
            Finish(request);
        }
    }

    private void Finish(NbdRequest request)
    {
        if (request.Error == NbdError.None)
        {
            if (request.Command == NbdCommand.Read && !request.Coverage.IsComplete(request.LengthBytes))
            {
                throw Violation($"the end of a reply to a read at {request.OffsetBytes}", $"all {request.LengthBytes} bytes before it");
            }

            if (request.Command == NbdCommand.BlockStatus && !request.Status!.IsComplete(export))
            {
                throw Violation($"the end of a reply to a status query", "extents of each context before it");
            }
        }

        connection.Finish(request);
    }

    private NbdRequest Find(ulong cookie) =>
        connection.Requests.FindSent(cookie) ??
        throw Violation($"a reply with cookie {cookie}", "that of a request that is not answered yet");

    private static bool IsUntouched(NbdRequest request) =>
        request.Error == NbdError.None && request.Status is null or { Allocation: null, Access: null, Dirty: null };

    private BlockException Violation(FormattableString got, string expected) =>
        ServerErrors.Violation(uri, got.ToString(CultureInfo.InvariantCulture), expected);
}
