// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text;

namespace Fleece.Block;

/// <summary>What disks, sessions, consumers and bitmaps may be called.</summary>
internal static class ObjectNames
{
    private static readonly SearchValues<char> Reserved = SearchValues.Create("/\\*?[]\0");

    /// <summary>False for names that could not be told from "DISK/NAME" or from a path, that a terminal would obey, or that UTF-8 can't
    /// hold: two of the last kind would be one name in a file and on the wire.</summary>
    public static bool IsName(string name) =>
        !string.IsNullOrWhiteSpace(name) && !name.AsSpan().ContainsAny(Reserved) && PrintableText.IsPrintable(name) && IsWellFormed(name);

    /// <summary>True where each surrogate has its other half, so that UTF-8 can hold the name.</summary>
    public static bool IsWellFormed(ReadOnlySpan<char> name)
    {
        while (!name.IsEmpty)
        {
            if (Rune.DecodeFromUtf16(name, out _, out int length) != OperationStatus.Done)
            {
                return false;
            }

            name = name[length..];
        }

        return true;
    }

    /// <summary>Refuses a name that <see cref="IsName"/> does not let pass.</summary>
    /// <param name="name">The name.</param>
    /// <param name="parameter">The parameter that gives another one, for the message.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public static void Check(string name, string parameter = "-Name")
    {
        if (!IsName(name))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{name}' can't be a name: it must not be empty, and must hold none of / \\ * ? [ ], no control characters, none " +
                $"that turn the direction of text, and no half of a surrogate pair. Give another one with {parameter}.");
        }
    }
}
