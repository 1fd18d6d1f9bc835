// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Says whether what a server without TLS sent is right for what its client had sent: one option at a time.</summary>
/// <param name="client">All the client has sent.</param>
/// <param name="server">All the server has sent, its greeting first.</param>
/// <param name="export">The only export, "vm", which is also the default.</param>
/// <param name="contextName">Its only context.</param>
internal sealed class HandshakeOracle(OracleReader client, OracleReader server, NbdExport export, string contextName)
{
    private bool _isNoZeroes;
    private bool _isStructured;
    private bool _isExtended;
    private bool _isIdentityAsked;

    public HeaderMode Mode => _isExtended ? HeaderMode.Extended : _isStructured ? HeaderMode.Structured : HeaderMode.Simple;

    public bool HasContext { get; private set; }

    /// <summary>Fails where an answer is wrong; true when the transmission has begun.</summary>
    public bool Check()
    {
        Assert.Equal((0x4e42444d41474943u, 0x49484156454F5054u, 3), (server.U64(), server.U64(), server.U16()));
        if (client.Left < 4)
        {
            return false;
        }

        uint flags = client.U32();
        _isNoZeroes = (flags & 2) != 0;
        for (int count = 0; (flags & ~3u) == 0 && count < 1024 && client.Left >= 16; count++)
        {
            ulong magic = client.U64();
            uint option = client.U32();
            uint length = client.U32();
            if (magic != 0x49484156454F5054 || length > 32 << 20 || length > client.Left || (option == 1 && length > 128 << 10))
            {
                return false;
            }

            OracleReader data = client.Part((int)length);
            if (option == 1)
            {
                return data.TryName((int)length, out string name) && IsThere(name) && CheckOldExport();
            }

            OptionReply answer = length > 128 << 10 ? OptionReply.ErrorTooBig : Expect(option, data);
            Assert.Equal(answer, ReadReplies(option));
            if (answer == OptionReply.Ack && option is 2 or 7)
            {
                return option == 7;
            }
        }

        return false;
    }

    private OptionReply Expect(uint option, OracleReader data)
    {
        switch (option)
        {
            case 2:
                return OptionReply.Ack;
            case 3:
                return data.Left == 0 ? OptionReply.Ack : OptionReply.ErrorInvalid;
            case 5:
                return data.Left == 0 ? OptionReply.ErrorPolicy : OptionReply.ErrorInvalid;
            case 6 or 7:
                return ExpectInfo(data);
            case 8 when data.Left == 0 && _isExtended:
                return OptionReply.ErrorExtendedHeadersRequired;
            case 8 or 11 when data.Left != 0 || _isExtended || (option == 8 && _isStructured):
                return OptionReply.ErrorInvalid;
            case 8 or 11:
                _isStructured = true;
                _isExtended = option == 11;
                return OptionReply.Ack;
            case 9 or 10:
                return ExpectContexts(option == 10, data);
            default:
                return OptionReply.ErrorUnsupported;
        }
    }

    private static OptionReply ExpectInfo(OracleReader data)
    {
        if (!data.TryName(out string name) || data.Left < 2 || data.U16() * 2 != data.Left)
        {
            return OptionReply.ErrorInvalid;
        }

        return IsThere(name) ? OptionReply.Ack : OptionReply.ErrorUnknown;
    }

    private OptionReply ExpectContexts(bool isSet, OracleReader data)
    {
        HasContext &= !isSet;
        if (!_isStructured || !data.TryName(out string name) || data.Left < 4)
        {
            return OptionReply.ErrorInvalid;
        }

        bool isMeant = false;
        _isIdentityAsked = false;
        for (uint queries = data.U32(); queries != 0; queries--)
        {
            if (data.Left < 4 || data.U32() is var length && length > data.Left)
            {
                return OptionReply.ErrorInvalid;
            }

            isMeant |= data.TryName((int)length, out string query) && query == contextName;
            _isIdentityAsked |= !isSet && query == "fleece:identity:";
        }

        if (data.Left != 0 || !IsThere(name))
        {
            return data.Left != 0 ? OptionReply.ErrorInvalid : OptionReply.ErrorUnknown;
        }

        HasContext |= isSet && isMeant;
        return OptionReply.Ack;
    }

    // Reads all replies and returns the final one; what comes before it has to suit the option.
    private OptionReply ReadReplies(uint option)
    {
        while (true)
        {
            Assert.Equal((0x0003e889045565a9u, option), (server.U64(), server.U32()));
            OptionReply type = (OptionReply)server.U32();
            OracleReader data = server.Part((int)server.U32());
            switch (type)
            {
                case OptionReply.Ack:
                    Assert.Equal(0, data.Left);
                    return type;
                case OptionReply.Server:
                    Assert.Equal(3u, option);
                    Assert.True(data.TryName(out string name) && name == "vm");
                    break;
                case OptionReply.Info:
                    Assert.InRange(option, 6u, 7u);
                    CheckInfo(data);
                    break;
                case OptionReply.MetaContext:
                    Assert.InRange(option, 9u, 10u);
                    Assert.Equal(option == 10 ? 1u : 0u, data.U32());
                    Assert.True(data.TryName(data.Left, out string context));
                    Assert.True(context == contextName || (_isIdentityAsked && context == "fleece:identity:disk=a%20b"));
                    break;
                default:
                    Assert.InRange((uint)type, 0x80000001, 0x8000000a);
                    Assert.InRange(data.Left, 0, 4096);
                    return type;
            }
        }
    }

    private void CheckInfo(OracleReader data)
    {
        switch (data.U16())
        {
            case 0:
                Assert.Equal((ulong)export.LengthBytes, data.U64());
                CheckFlags(data.U16());
                break;
            case 3:
                Assert.Equal((1u, 4096u, 32u << 20), (data.U32(), data.U32(), data.U32()));
                break;
            default:
                data.Take(data.Left);
                break;
        }

        Assert.Equal(0, data.Left);
    }

    private bool CheckOldExport()
    {
        Assert.Equal((ulong)export.LengthBytes, server.U64());
        CheckFlags(server.U16());
        Assert.False(!_isNoZeroes && server.Take(124).ContainsAnyExcept((byte)0));
        return true;
    }

    private void CheckFlags(ushort flags)
    {
        Assert.Equal(1, flags & 1);
        Assert.Equal(export.Access == ExportAccess.Read, (flags & 2) != 0);
        Assert.Equal(_isStructured, (flags & 0x80) != 0);
        Assert.Equal(_isExtended, (flags & 0x1000) != 0);
    }

    private static bool IsThere(string name) => name is "" or "vm";
}
