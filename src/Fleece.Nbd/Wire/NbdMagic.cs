// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Wire;

/// <summary>The numbers that begin the protocol's messages. Source: the NBD protocol, "Values", and its extended-header branch.</summary>
internal static class NbdMagic
{
    /// <summary>First word of the server's greeting, "NBDMAGIC".</summary>
    public const ulong Greeting = 0x4e42444d41474943;

    /// <summary>Second word of a newstyle greeting and first of every option, "IHAVEOPT".</summary>
    public const ulong Option = 0x49484156454F5054;

    /// <summary>First word of a reply to an option.</summary>
    public const ulong OptionReply = 0x0003e889045565a9;

    /// <summary>A request with a compact header.</summary>
    public const uint Request = 0x25609513;

    /// <summary>A request with an extended header.</summary>
    public const uint ExtendedRequest = 0x21e41c71;

    /// <summary>A simple reply.</summary>
    public const uint SimpleReply = 0x67446698;

    /// <summary>A chunk of a structured reply.</summary>
    public const uint StructuredReply = 0x668e33ef;

    /// <summary>A chunk of a reply with an extended header.</summary>
    public const uint ExtendedReply = 0x6e8a278c;
}
