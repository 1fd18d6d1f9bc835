// SPDX-License-Identifier: MIT
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Client;

/// <summary>What a <see cref="FakeConnection"/> pretends to offer.</summary>
internal sealed record FakeExport
{
    public const TransmissionFlags AllFlags =
        TransmissionFlags.HasFlags | TransmissionFlags.SendFlush | TransmissionFlags.SendFua | TransmissionFlags.SendTrim |
        TransmissionFlags.SendWriteZeroes;

    public ulong LengthBytes { get; init; } = 1024 * 1024;

    public TransmissionFlags Flags { get; init; } = AllFlags;

    public ReplyForm Form { get; init; } = ReplyForm.Structured;

    public (uint Minimum, uint Preferred, uint Maximum)? BlockSize { get; init; }

    /// <summary>Contexts that it agrees to, with their numbers.</summary>
    public (uint Number, string Name)[] Contexts { get; init; } = [(7, "base:allocation")];

    /// <summary>Names that it lists when it is asked for identity; null for a server that does not know the option.</summary>
    public string[]? Identity { get; init; }

    /// <summary>Bytes to answer an option with, in place of the right ones.</summary>
    public (NbdOption Option, byte[] Reply)? Answer { get; init; }
}
