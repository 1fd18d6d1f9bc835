// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Server.Exports;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Says whether a server's replies are right for the requests and the content, where it answers in order.</summary>
internal sealed class TransmissionOracle(
    OracleReader client, OracleReader server, HeaderMode mode, ExportAccess access, bool hasContext, ReferenceDisk disk)
{
    private const int MiB = 1024 * 1024;
    private const uint Invalid = 22;

    private readonly bool _isExtended = mode == HeaderMode.Extended;
    private readonly ulong _size = (ulong)disk.LengthBytes;
    private ushort _flags;
    private ushort _command;
    private ulong _cookie;
    private ulong _offset;
    private ulong _length;

    /// <summary>Replies that were found right.</summary>
    public int Checked { get; private set; }

    /// <summary>Fails where a reply is wrong.</summary>
    public void Check()
    {
        while (client.Left >= (_isExtended ? 32 : 28) && client.U32() == (_isExtended ? 0x21e41c71 : 0x25609513u))
        {
            (_flags, _command, _cookie, _offset) = (client.U16(), client.U16(), client.U64(), client.U64());
            _length = _isExtended ? client.U64() : client.U32();
            ulong payload = _command == 1 || (_isExtended && (_flags & 0x20) != 0) ? _length : 0;
            uint error = Judge();
            if (_command == 2 || payload > (ulong)client.Left || (error != 0 && payload > 128 * MiB))
            {
                return;
            }

            OracleReader data = client.Part((int)payload);
            error = error == 0 && _command == 7 && payload != 0 ? JudgeStatusPayload(data) : error;
            CheckReply(error, data);
            Checked++;
        }
    }

    private uint Judge()
    {
        bool canForce = access == ExportAccess.Write;
        int allowed = (_command switch
        {
            0 => mode == HeaderMode.Simple ? 0 : 4,
            1 => _isExtended ? 0x20 : 0,
            6 => 2 | 16,
            7 => 8 | (_isExtended ? 0x20 : 0),
            _ => 0,
        }) | (canForce && _command is 1 or 4 or 6 ? 1 : 0);
        bool isBeyond = _offset > _size || _length > _size - _offset;
        if ((_flags & ~allowed) != 0)
        {
            return Invalid;
        }

        return _command switch
        {
            0 when _length > 32 * MiB => 75,
            0 or 5 => isBeyond ? Invalid : 0,
            1 when _length > 32 * MiB => Invalid,
            1 or 6 when access != ExportAccess.Write => 1,
            1 or 6 when isBeyond => 28,
            6 when (_flags & 18) == 18 => 95,
            1 or 6 => 0,
            3 => _offset != 0 || _length != 0 ? Invalid : 0,
            4 when access == ExportAccess.Read => 1,
            4 => isBeyond ? Invalid : 0,
            7 when !hasContext => Invalid,
            7 when (_flags & 0x20) != 0 => _length is >= 8 and <= 4096 && _length % 4 == 0 ? 0 : Invalid,
            7 => _length == 0 || isBeyond ? Invalid : 0,
            _ => Invalid,
        };
    }

    // The only context there is has the id 1.
    private uint JudgeStatusPayload(OracleReader payload)
    {
        _length = payload.U64();
        uint error = _length == 0 || _offset > _size || _length > _size - _offset ? Invalid : 0;
        bool isNone = payload.Left == 0;
        while (payload.Left != 0)
        {
            error = payload.U32() == 1 ? error : Invalid;
        }

        // Nobody asked for extents, so a plain success is the answer: as that of a flush.
        _command = error == 0 && isNone ? (ushort)3 : _command;
        return error;
    }

    private void CheckReply(uint error, OracleReader data)
    {
        uint magic = server.U32();
        if (magic == 0x67446698)
        {
            Assert.False(_isExtended);
            Assert.True(mode == HeaderMode.Simple || (_command is not (0 or 7) && error == 0));
            Assert.Equal((error, _cookie), (server.U32(), server.U64()));
            if (error == 0 && _command == 0)
            {
                disk.Check((long)_offset, server.Take((int)_length));
            }
        }
        else
        {
            CheckChunk(magic, error);
        }

        Apply(error, data);
    }

    // One chunk for each reply: there is one context, and reads are not cut.
    private void CheckChunk(uint magic, uint error)
    {
        Assert.NotEqual(HeaderMode.Simple, mode);
        Assert.Equal((_isExtended ? 0x6e8a278c : 0x668e33efu, 1), (magic, server.U16()));
        ushort type = server.U16();
        Assert.Equal(_cookie, server.U64());
        Assert.True(!_isExtended || server.U64() == _offset);
        OracleReader payload = server.Part((int)(_isExtended ? server.U64() : server.U32()));
        switch (type)
        {
            case 0:
                Assert.True(error == 0 && (_command is not (0 or 7) || _length == 0));
                break;
            case 1:
                Assert.Equal((0u, 0, _offset, (int)_length), (error, _command, payload.U64(), payload.Left));
                disk.Check((long)_offset, payload.Take(payload.Left));
                break;
            case 2:
                Assert.Equal((0u, 0, _offset, (uint)_length), (error, _command, payload.U64(), payload.U32()));
                disk.Check((long)_offset, new byte[_length]);
                break;
            case 5 or 6:
                Assert.Equal((0u, 7, _isExtended ? 6 : 5, 1u), (error, _command, type, payload.U32()));
                CheckExtents(payload);
                break;
            default:
                Assert.Equal((0x8001, error), (type, payload.U32()));
                Assert.NotEqual(0u, error);
                Assert.Equal(payload.U16(), payload.Left);
                payload.Take(payload.Left);
                break;
        }

        Assert.Equal(0, payload.Left);
    }

    private void CheckExtents(OracleReader payload)
    {
        uint count = _isExtended ? payload.U32() : (uint)payload.Left / 8;
        Assert.Equal(count * (_isExtended ? 16 : 8), (uint)payload.Left);
        Assert.True(count == 1 || (count > 1 && (_flags & 8) == 0));
        for (ulong at = _offset; count != 0; count--)
        {
            (ulong length, ulong flags) = _isExtended ? (payload.U64(), payload.U64()) : (payload.U32(), payload.U32());
            Assert.InRange(length, 1u, _offset + _length - at);
            if ((flags & 2) != 0)
            {
                disk.Check((long)at, new byte[length], "Status says zero.");
            }

            at += length;
        }
    }

    private void Apply(uint error, OracleReader data)
    {
        if (error != 0)
        {
            return;
        }

        switch (_command)
        {
            case 1:
                disk.Write((long)_offset, data.Take(data.Left));
                break;
            case 4:
                disk.Discard(new BlockRange((long)_offset, (long)_length));
                break;
            case 6:
                disk.WriteZeroes(new BlockRange((long)_offset, (long)_length));
                break;
        }
    }
}
