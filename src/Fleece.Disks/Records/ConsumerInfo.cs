// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Records;

/// <summary>One of the consumers that a session counts, as it was when the session was asked for.</summary>
public sealed record ConsumerInfo
{
    internal ConsumerInfo(SessionConsumer consumer)
    {
        Name = consumer.Name;
        Session = consumer.Session.Id;
        ConfirmedBytes = consumer.ConfirmedBytes;
        RemainingBytes = consumer.RemainingBytes;
        SizeBytes = consumer.SizeBytes;
        InstantId = consumer.Session.InstantId;
    }

    /// <summary>The name, unique in the session.</summary>
    public string Name { get; }

    /// <summary>The session, "DISK/NAME".</summary>
    public string Session { get; }

    /// <summary>Bytes that it has confirmed.</summary>
    public long ConfirmedBytes { get; }

    /// <summary>Bytes that it has not confirmed: the session keeps them for this consumer.</summary>
    public long RemainingBytes { get; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; }

    /// <summary>The identity of the session's instant.</summary>
    public Guid InstantId { get; }

    /// <summary>The name.</summary>
    public override string ToString() => Name;
}
