// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>Headers and short payloads that go out together.</summary>
/// <remarks>Threading. Only the caller that has the turn to send.</remarks>
internal sealed class SendBuffer(bool isExtended)
{
    private const int LengthBytes = 128 * 1024;

    // Up to here it costs less to copy a payload than to send it by itself.
    private const int CopiedPayloadBytes = 64 * 1024;

    // The part of a longer payload that goes with the header.
    private const int LeadingBytes = 4 * 1024;

    private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(LengthBytes);
    private readonly int _headerBytes = RequestHeader.SizeBytes(isExtended);
    private int _filledBytes;

    /// <summary>The bytes to send.</summary>
    public ReadOnlyMemory<byte> Filled => _bytes.AsMemory(0, _filledBytes);

    public void Clear() => _filledBytes = 0;

    public bool HasRoomFor(NbdRequest request) => _headerBytes + CopiedBytes(request) <= LengthBytes - _filledBytes;

    /// <summary>Adds a request that there is room for.</summary>
    /// <returns>The payload that must follow by itself; empty for most.</returns>
    public ReadOnlyMemory<byte> Add(NbdRequest request)
    {
        CommandFlags flags = request.Flags;
        if (isExtended && request.Command == NbdCommand.Write)
        {
            flags |= CommandFlags.PayloadLength;
        }

        int copiedBytes = CopiedBytes(request);
        AddHeader(
            new RequestHeader(flags, request.Command, request.Cookie, (ulong)request.OffsetBytes, (ulong)request.LengthBytes));
        request.Data.Span[..copiedBytes].CopyTo(_bytes.AsSpan(_filledBytes));
        _filledBytes += copiedBytes;
        return request.Data[copiedBytes..];
    }

    /// <summary>Adds a header that stands for itself.</summary>
    public void AddHeader(in RequestHeader header)
    {
        header.Write(_bytes.AsSpan(_filledBytes), isExtended);
        _filledBytes += _headerBytes;
    }

    private static int CopiedBytes(NbdRequest request) =>
        request.Data.Length <= CopiedPayloadBytes ? request.Data.Length : LeadingBytes;
}
