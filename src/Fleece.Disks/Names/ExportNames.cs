// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Disks.Names;

/// <summary>What the exports of a disk and its sessions may be called: "NAME", "NAME/SESSION" and "NAME/SESSION/CONSUMER".</summary>
/// <remarks>A name that a client can't ask for, or that a terminal obeys, is refused where it is given.</remarks>
internal static class ExportNames
{
    /// <summary>Refuses a disk's name that is too long for an export.</summary>
    public static void CheckDisk(string diskName) => CheckLength(diskName, "The disk's name", "-Name");

    /// <summary>Refuses a name that a disk can't be published under.</summary>
    public static void Check(string name)
    {
        if (!PrintableText.IsPrintable(name) || !ObjectNames.IsWellFormed(name))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{name}' can't be the name of an export: it holds control characters, some that turn the direction of text, or half of " +
                "a surrogate pair. Give another one with -ExportName.");
        }

        CheckLength(name, "The export's name", "-ExportName");
    }

    /// <summary>Refuses the names of a session and its consumers that are too long together with one of its disk's.</summary>
    /// <param name="name">The name that the disk is published under.</param>
    /// <param name="sessionName">The session's.</param>
    /// <param name="consumers">Those of its consumers.</param>
    /// <param name="parameter">The parameter that gives another name, for the message.</param>
    public static void CheckSession(string name, string sessionName, IEnumerable<string> consumers, string parameter)
    {
        string snapshot = $"{name}/{sessionName}";
        CheckLength(snapshot, $"The name of the snapshot's export, {Shorten(name)}/{Shorten(sessionName)},", parameter);
        foreach (string consumer in consumers)
        {
            CheckLength(
                $"{snapshot}/{consumer}",
                $"The name of the consumer's export, {Shorten(name)}/{Shorten(sessionName)}/{Shorten(consumer)},",
                parameter);
        }
    }

    private static void CheckLength(string name, string what, string parameter)
    {
        int lengthBytes = Encoding.UTF8.GetByteCount(name);
        if (lengthBytes > NbdUri.MaximumExportNameBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"{what} has {lengthBytes} bytes of UTF-8, and NBD allows {NbdUri.MaximumExportNameBytes}. Give a shorter one with " +
                $"{parameter}.");
        }
    }

    private static string Shorten(string name) => name.Length <= 40 ? name : $"{name[..40]}...";
}
