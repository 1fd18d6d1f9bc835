// SPDX-License-Identifier: MIT
using System.Buffers;

namespace Fleece.Block;

/// <summary>What disks, sessions, consumers and bitmaps may be called.</summary>
internal static class ObjectNames
{
    private static readonly SearchValues<char> Reserved = SearchValues.Create("/\\*?[]\0");

    /// <summary>False for names that could not be told from "DISK/NAME" or from a path, or that a terminal would obey.</summary>
    public static bool IsName(string name) =>
        !string.IsNullOrWhiteSpace(name) && !name.AsSpan().ContainsAny(Reserved) && PrintableText.IsPrintable(name);

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
                $"'{name}' can't be a name: it must not be empty, and must hold none of / \\ * ? [ ], no control characters and none " +
                $"that turn the direction of text. Give another one with {parameter}.");
        }
    }
}
