// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Runtime.Loader;
using Fleece.Block;
using Fleece.Images.Qcow2.Compression;

namespace Fleece.Images.Foreign;

/// <summary>Finds the assembly that reads foreign formats: beside this one, by its name.</summary>
/// <remarks>
/// <para>It is loaded, with all that it needs, into a context of its own, so that none of it meets another module's copy; only
/// Fleece's assemblies are shared, because the interface is theirs.</para>
/// <para>Threading. Immutable.</para>
/// </remarks>
internal static class ForeignAdapter
{
    /// <summary>The file's name.</summary>
    public const string FileName = "Fleece.DiscUtils.dll";

    /// <summary>Where the adapter is looked for.</summary>
    public static string ExpectedPath { get; } =
        Path.Combine(Path.GetDirectoryName(Path.GetDirectoryName(ZstdLibrary.ExpectedPath))!, FileName);

    private static readonly Lazy<object> Loaded = new(() => Load(ExpectedPath));

    /// <summary>The adapter of the process, or the exception that says why there is none.</summary>
    public static object Find() => Loaded.Value;

    /// <summary>The adapter in an assembly, or the exception that says why it can't be used.</summary>
    public static object Load(string path)
    {
        try
        {
            Type[] types = new AdapterContext(path).LoadFromAssemblyPath(path).GetTypes();
            Type type = Array.Find(types, candidate => candidate.IsClass && candidate.IsAssignableTo(typeof(IForeignImages)))
                ?? throw new TypeLoadException($"'{path}' has no class that implements {nameof(IForeignImages)}.");
            return (IForeignImages)Activator.CreateInstance(type)!;
        }
        catch (Exception failure)
            when (failure is IOException or UnauthorizedAccessException or BadImageFormatException or TypeLoadException
                or ReflectionTypeLoadException or MissingMemberException or TargetInvocationException)
        {
            return failure;
        }
    }

    private sealed class AdapterContext(string path) : AssemblyLoadContext("Fleece.DiscUtils")
    {
        private static readonly Assembly[] Shared = [typeof(IForeignImages).Assembly, typeof(IBlockNode).Assembly];

        private readonly string _folder = Path.GetDirectoryName(path)!;

        protected override Assembly? Load(AssemblyName assemblyName)
        {
            if (Array.Find(Shared, assembly => assembly.GetName().Name == assemblyName.Name) is { } shared)
            {
                return shared;
            }

            string[] candidates =
            [
                Path.Combine(_folder, ZstdLibrary.FolderName, assemblyName.Name + ".dll"),
                Path.Combine(_folder, assemblyName.Name + ".dll"),
            ];
            return Array.Find(candidates, File.Exists) is { } found ? LoadFromAssemblyPath(found) : null;
        }
    }
}
